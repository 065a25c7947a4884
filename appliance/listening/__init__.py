"""Sound, from the microphone to what the voice does."""
