"""Which pictures and sounds eight bits are fitted to, what that costs, and how the pictures are deleted again."""
