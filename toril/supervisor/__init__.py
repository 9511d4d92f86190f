"""What joins runtime and sandbox and keeps both alive; nobody imports it but the entry points."""
