"""Separate processes that know MQTT and the wire format alone."""
