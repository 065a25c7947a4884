"""A Debian booted under systemd in a container, with the package installed as on a device: ``python -m tests.boot``."""
