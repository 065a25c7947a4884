"""Pictures, from the sensor to this process's hands."""
