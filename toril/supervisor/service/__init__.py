"""What the world outside sees of a supervisor, and tells it."""
