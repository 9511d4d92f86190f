"""What a newcomer runs first: it shows toril at work and proves what it promises.

The way of a demo: `main` starts a private server and two supervisors (`supervise`), `stage` adds
the jobs and does the harm, `promises` asks Redis what became of them. Nobody imports this room.
"""
