"""Devices that boot: systemd containers with a real sshd, each in a network namespace, the laptop outside."""
