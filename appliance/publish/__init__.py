"""From avatar state to bytes, and out."""
