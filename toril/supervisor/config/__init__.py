"""What a supervisor is told, from file, environment and flags, as one checked value."""
