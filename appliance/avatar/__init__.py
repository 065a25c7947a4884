"""From what was measured to what the avatar does."""
