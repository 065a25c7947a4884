"""Capture, from the sensor to the appliance: real processes, a virtual camera device, a real stream server."""
