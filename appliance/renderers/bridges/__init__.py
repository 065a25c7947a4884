"""Bridges: avatars heard over MQTT, said again in the protocols that other renderers already speak."""
