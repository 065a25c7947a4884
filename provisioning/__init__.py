"""Brings devices from a flashed board to a live booth over SSH and updates them; imports nothing of ours."""
