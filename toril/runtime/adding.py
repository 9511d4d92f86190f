"""Adding jobs: the commands, and what their answers mean; pure.

Jobs go in calls of some and batches of many calls. Each call carries a request (nonce of the caller
with its number in the batch, and the batch), so that a call whose reply was lost is sent again and
answered from memory. A change must keep: no call is ever executed twice.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from toril import __version__
from toril.errors import ParentGone, ParentTaken, TorilError
from toril.runtime.command import REAL_TIME, Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from toril.runtime.preparing import PreparedJob, StoredOptions

JOBS_PER_CALL = 100
"""Jobs in one EVALSHA; chosen: Redis serves others in between, every millisecond."""

JOBS_PER_BATCH = 1000
"""Jobs in one pipeline; chosen: round trips no longer count, what is lost with one is little."""

BYTES_PER_CALL = 1024 * 1024
"""Job data in one EVALSHA after which the next begins; chosen, as above."""

BYTES_PER_BATCH = 16 * 1024 * 1024
"""Job data in one pipeline after which the next begins; chosen: it is all held in memory."""

VERSION = f"toril:{__version__}"
"""What meta `version` says after a producer of ours."""


class Added(msgspec.Struct, frozen=True):
    """What became of one job.

    Attributes:
        id: the job's id.
        is_duplicate: a job with this custom or deduplication id was there, and stands for it.
        now_ms: the server's clock when it was added.
    """

    id: str
    is_duplicate: bool
    now_ms: int


class AddCall(msgspec.Struct, frozen=True):
    """One call that adds a few jobs.

    Attributes:
        indexes: which of all jobs are in it.
        command: answers with what became of them, in order.
    """

    indexes: range
    command: Command[list[Added | TorilError]]


class RequestKey(msgspec.Struct):
    """One caller's name for its batches; used by one call of `add` or `add_bulk` at a time."""

    nonce: str
    batch: int = 0


class RequestKeys:
    """Request keys that are free to use; threads may share it.

    Reused, because every key is remembered in Redis for some minutes. A key whose batch ended
    with an exception does not come back: that batch may still be on its way. Keys do not survive
    a fork: parent and child would name different jobs alike, and one would never be added.
    """

    def __init__(self) -> None:
        self._free: deque[RequestKey] = deque()
        self._pid = os.getpid()

    def take(self) -> RequestKey:
        """A key that nobody else uses, on its next batch."""
        if self._pid != os.getpid():
            self._free, self._pid = deque(), os.getpid()
        try:
            key = self._free.pop()
        except IndexError:
            key = RequestKey(uuid.uuid4().hex)
        key.batch += 1
        return key

    def give_back(self, key: RequestKey) -> None:
        """The batch was answered."""
        self._free.append(key)


def batches(jobs: Sequence[PreparedJob]) -> Iterator[range]:
    """Indexes of the jobs that go into one pipeline each, in order."""
    return _slices(jobs, range(len(jobs)), JOBS_PER_BATCH, BYTES_PER_BATCH)


def add_calls(
    base: str, jobs: Sequence[PreparedJob], batch: range, key: RequestKey, *, version: str = ""
) -> list[AddCall]:
    """The calls of one batch, in order.

    Args:
        base: `P:Q:`.
        jobs: all jobs, of which `batch` holds the indexes of this one.
        batch: from `batches`.
        key: names the batch.
        version: for meta `version`; empty leaves it.
    """
    calls = _slices(jobs, batch, JOBS_PER_CALL, BYTES_PER_CALL)
    return [
        AddCall(call, add_call(base, jobs[call.start : call.stop], key, number, version=version))
        for number, call in enumerate(calls)
    ]


def add_call(
    base: str, jobs: Sequence[PreparedJob], key: RequestKey, number: int = 0, *, version: str = ""
) -> Command[list[Added | TorilError]]:
    """The call of a batch that has this number; what it adds is known in the jobs' order.

    Options that jobs share are sent once, which halves its arguments. A single standard job has a
    script of its own, which costs the server about half.
    """
    nonce = f"{key.nonce}.{number}" if number else key.nonce
    if len(jobs) == 1 and jobs[0].options.is_standard:
        return _add_one(base, jobs[0], (REAL_TIME, nonce, key.batch), version)
    numbers: dict[int, int] = {}
    options: list[StoredOptions] = []
    fields: list[str | bytes | int] = []
    for job in jobs:
        place = numbers.get(id(job.options))
        if place is None:
            options.append(job.options)
            place = numbers[id(job.options)] = len(options)
        fields += job.options.custom_id, job.name, job.data, place
    head = (REAL_TIME, nonce, key.batch, version, len(options))
    args = (*head, *(arg for one in options for arg in one.as_args()), *fields)
    if any(one.is_tied for one in options):
        return Command("add_tied", (base,), args, _parse_tied)
    return Command("add", (base,), args, partial(_parse_plain, jobs))


def _add_one(
    base: str, job: PreparedJob, head: tuple[str | int, ...], version: str
) -> Command[list[Added | TorilError]]:
    how = job.options
    rare = (version, how.timestamp, "lifo" if how.lifo else "", how.custom_id)
    args = (*head, how.text, job.name, job.data, *(rare if any(rare) else ()))
    return Command("add_one", (base,), args, partial(_parse_one, how.custom_id))


def _parse_one(custom_id: str, reply: Any) -> list[Added | TorilError]:
    now_ms, number, *duplicate = reply.split()
    return [Added(custom_id or number.decode(), bool(duplicate), int(now_ms))]


def _parse_plain(jobs: Sequence[PreparedJob], reply: Any) -> list[Added | TorilError]:
    now_ms, first, *duplicates = map(int, reply.split())
    ends: list[Added | TorilError] = [
        Added(job.options.custom_id or str(number), False, now_ms)
        for number, job in enumerate(jobs, first)
    ]
    for place in duplicates:
        ends[place - 1] = Added(jobs[place - 1].options.custom_id, True, now_ms)
    return ends


def _parse_tied(reply: Any) -> list[Added | TorilError]:
    now_ms, *rest = reply
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return [_added(job_id.decode(), word, int(now_ms)) for job_id, word in pairs]


def _added(job_id: str, word: bytes, now_ms: int) -> Added | TorilError:
    match word:
        case b"parent-gone":
            return ParentGone(job_id)
        case b"parent-taken":
            return ParentTaken(job_id)
    return Added(job_id, word != b"added", now_ms)


def _slices(
    jobs: Sequence[PreparedJob], whole: range, max_jobs: int, max_bytes: int
) -> Iterator[range]:
    """Consecutive ranges of at most `max_jobs`, ended early once they hold `max_bytes`."""
    start, size_bytes = whole.start, 0
    for index in whole:
        if index - start == max_jobs or size_bytes >= max_bytes:
            yield range(start, index)
            start, size_bytes = index, 0
        size_bytes += len(jobs[index].data)
    if start < whole.stop:
        yield range(start, whole.stop)
