"""`toril jobs`: looking at jobs and acting on them, one by id or many by filter."""
