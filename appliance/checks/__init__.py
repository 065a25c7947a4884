"""What on this device would stop the appliance, or weaken it: one module an area, each finding with its cure."""
