"""The `toril` command: one module a verb; nobody imports this room but the entry points."""
