"""Real processors, imported by real zygotes: well-behaved, buggy and hostile ones."""
