"""The always-on program: camera and microphone in, avatar parameters out."""

__version__ = "0.1.0"
