"""The demonstration: a self-made clip of a real face, and its truth."""
