"""Keeps the releases of a device, on the device: install, switch, watch, go back. On the standard library alone.

It is copied to the device and lies outside the releases, so that none of them can break the way back.
"""
