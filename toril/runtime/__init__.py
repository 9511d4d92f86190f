"""What a job is and where it goes: everything that touches Redis, and no process."""
