"""Attacks on the socket to the supervisor: frames that lie, floods, frames of somebody else's."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time

from tests.hostile.attacks.steps import attack
from tests.process.processors.hostile import frame, say, wait_to_be_killed

READY, FAULT, PROGRESS, LOG, RESULT, ERROR, CALL, LAST, UPDATE_DATA, USAGE = range(16, 26)


@attack
def send_half_a_frame(job):
    """A header that promises more than comes (row 39)."""
    say(frame(RESULT, job._sequence, b"")[:7])
    wait_to_be_killed()


@attack
def promise_a_large_frame(job):
    """Memory is taken for a promise only within its type's bound."""
    say(frame(UPDATE_DATA, job._sequence, b"", length=16 * 1024 * 1024))
    wait_to_be_killed()


@attack
def answer_for_the_next_job(job):
    """A result that lies ready for a call which has not begun (rows 41, 42)."""
    own, sequence = job._sequence, job._sequence + 1
    say(frame(RESULT, own, b'"own"') + frame(RESULT, sequence, b'"forged"'))
    wait_to_be_killed()


@attack
def answer_the_next_job_from_a_thread(job):
    """The same a little later, from a thread that stays behind (row 42)."""
    sequence = job._sequence + 1

    def forge():
        while True:
            time.sleep(0.001)
            say(frame(RESULT, sequence, b'"forged"'))

    threading.Thread(target=forge, daemon=True).start()
    return "own"


@attack
def answer_the_next_job_without_a_thread_to_see(job):
    """The same by a thread that Python's own count does not know."""
    import _thread  # noqa: PLC0415 - only here

    sequence = job._sequence + 1

    def forge():
        while True:
            time.sleep(0.0005)
            say(frame(RESULT, sequence, b'"forged"'))

    _thread.start_new_thread(forge, ())
    return "own"


@attack
def answer_with_odd_numbers(job):
    """Sequence numbers at the edges of their type."""
    say(frame(RESULT, job.data["argument"], b'"edge"'))
    wait_to_be_killed()


@attack
def bomb_with_json(job):
    """Text that is small and deep, or long and dull (row 38)."""
    size = 1_000_000
    text = {"deep": b"[" * size, "objects": b'{"a":' * 100_000, "digits": b"1" * size}
    text["closed"] = b"[" * 400_000 + b"]" * 400_000
    text["escapes"] = b'"' + b"\\u0000" * 150_000 + b'"'
    say(frame(RESULT, job._sequence, text[job.data["argument"]]))
    wait_to_be_killed()


@attack
def bomb_the_progress_with_json(job):
    """The same where the depth is met by another check."""
    kind = {"progress": PROGRESS, "data": UPDATE_DATA, "call": CALL, "error": ERROR}
    head = b"\0\0\0\0" if job.data["argument"] == "call" else b""
    say(frame(kind[job.data["argument"]], job._sequence, head + b"[" * 60_000))
    wait_to_be_killed()


@attack
def flood_progress(job):
    """Progress without a pause, past the child's own brake (row 40)."""
    job.log("begun")
    data = frame(PROGRESS, job._sequence, b"1") * 2000
    while True:
        say(data)


@attack
def flood_data(job):
    """The job's data replaced again and again, 1 MiB each."""
    job.log("begun")
    data = frame(UPDATE_DATA, job._sequence, b'"' + b"x" * 1_000_000 + b'"')
    for _ in range(job.data["argument"] or 40):
        say(data)
    return "said"


@attack
def flood_calls_of_all_kinds(job):
    """Calls for everything, the unknown too; at most 16 may wait for their reply."""
    methods = ("add", "children_values", "moveToDelayed", "__class__", "", "x" * 50_000)
    data = b"".join(
        frame(CALL, job._sequence, struct.pack("<I", n) + json.dumps(call).encode())
        for n, call in enumerate({"method": one, "payload": None} for one in methods * 4)
    )
    say(data)
    wait_to_be_killed()


@attack
def log_after_the_end(job):
    """Log entries behind the result, in one write."""
    sequence = job._sequence
    say(frame(RESULT, sequence, b'"own"') + frame(LOG, sequence, b"late") * 100)
    wait_to_be_killed()


@attack
def lie_about_its_usage(job):
    """A peak that no machine has, many times."""
    say(frame(USAGE, job._sequence, b"\xff" * 9) * 50)
    return "lied"


@attack
def lie_about_its_last(job):
    """It leaves, it says, in words that are no text."""
    say(frame(LAST, job._sequence, b"\xff\xfe" * 400))
    return "lied"


@attack
def close_for_writing(job):
    """Half of the socket closed: the supervisor hears an end, the child can listen on."""
    with socket.socket(fileno=os.dup(3)) as data:
        data.shutdown(socket.SHUT_WR)
    wait_to_be_killed()


@attack
def put_another_file_in_its_place(job):
    """fd 3 is a file now; the result goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 3)
    return "said to nobody"


@attack
def send_many_descriptors(job):
    """Descriptors in batches, in the middle of frames that are right (row 44)."""
    sequence = job._sequence
    with socket.socket(fileno=os.dup(3)) as data, open(os.devnull) as null:
        for _ in range(50):
            socket.send_fds(data, [frame(LOG, sequence, b"with a gift")], [null.fileno()] * 100)
    return "sent"


@attack
def send_out_of_band(job):
    """One byte beside the stream."""
    with socket.socket(fileno=os.dup(3)) as data:
        data.send(b"\xff", socket.MSG_OOB)
    return "sent"


@attack
def write_to_the_stack_pipe(job):
    """What the supervisor takes for a stack, unasked and without an end."""
    os.set_blocking(4, False)
    job.log("begun")
    end_s = time.monotonic() + 0.3
    while time.monotonic() < end_s:
        try:
            os.write(4, b"\xff\0\n" * 20_000)
        except BlockingIOError:
            time.sleep(0.001)
    return "written"


@attack
def steal_from_the_supervisor(job):
    """Eat what the supervisor sends: the next call, the cancellation."""
    with socket.socket(fileno=os.dup(3)) as data:
        job.log("begun")
        while True:
            data.recv(65536)


@attack
def never_read(job):
    """Stop reading for ever, asking on: replies pile up."""
    request = struct.pack("<I", 7) + b'{"method":"children_values","payload":null}'
    job.log("begun")
    for _ in range(2000):
        say(frame(CALL, job._sequence, request))
    wait_to_be_killed()
