"""From picture to expression."""
