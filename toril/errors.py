"""Every exception of the house, in one tree; imports nothing of ours.

Three families: the caller's mistake (`InvalidInput`, raised before anything is written), the
job's own end (`JobFailed`, `JobGone`, …) and the world (`RedisUnavailable`, `SandboxUnavailable`,
which may pass). At the end stand the signals that cross between a processor and toril.
A message says what was found, what was expected and what to do; context is attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta


class TorilError(Exception):
    """Anything toril raises on purpose."""


class InvalidInput(TorilError, ValueError):
    """The caller's mistake; nothing was written."""


class InvalidQueueName(InvalidInput):
    """A queue name that BullMQ could not read."""


class InvalidJobId(InvalidInput):
    """A custom job id that would collide or that BullMQ refuses."""


class InvalidJobData(InvalidInput):
    """Job data that is not JSON."""


class DataTooLarge(InvalidInput):
    """Job data over the size limit (`size_bytes` > `limit_bytes`)."""

    def __init__(self, message: str, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class InvalidOption(InvalidInput):
    """A job option or setting outside its range."""


class InvalidSettings(InvalidOption):
    """Settings with something wrong in them.

    Attributes:
        problems: everything that is wrong, each with the name of its setting first.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BulkAddFailed(TorilError):
    """Some jobs of an `add_bulk` were not added.

    Attributes:
        added: index in the input → id of the job that was added.
        failed: index in the input → why that job was not added, or is not known to be.
    """

    def __init__(self, added: Mapping[int, str], failed: Mapping[int, Exception]) -> None:
        first = min(failed)
        super().__init__(
            f"{len(failed)} of {len(added) + len(failed)} jobs were not added; "
            f"the first is index {first}: {failed[first]}. "
            "`added` holds the ids of the others, `failed` the indexes to add again."
        )
        self.added = dict(added)
        self.failed = dict(failed)


class ParentGone(TorilError):
    """The parent that a new job was to have is not there; nothing changed."""

    def __init__(self, parent_key: str) -> None:
        super().__init__(f"there is no job {parent_key}, which was to be the parent of a new one")
        self.parent_key = parent_key


class ParentTaken(TorilError):
    """A job with the id of the new one is another parent's child already; nothing changed."""

    def __init__(self, parent_key: str) -> None:
        super().__init__(f"a job of this id waits as a child of {parent_key}; it keeps its parent")
        self.parent_key = parent_key


class JobFailed(TorilError):
    """The job that was waited for ended in `failed`."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id} failed: {reason}")
        self.job_id = job_id
        self.reason = reason


class JobGone(TorilError):
    """The job that was waited for is not in Redis any more, so its result cannot be known."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id} does not exist (any more): it ended and was removed, or somebody "
            "removed it. Keep finished jobs (remove_on_complete=False or a count) to read results "
            "later, or start waiting before the job ends."
        )
        self.job_id = job_id


class WaitTimeout(TorilError, TimeoutError):
    """The job did not end in time; it goes on."""

    def __init__(self, job_id: str, timeout_s: float) -> None:
        super().__init__(f"job {job_id} did not end within {timeout_s:g} s; it goes on")
        self.job_id = job_id
        self.timeout_s = timeout_s


class JobNotInState(TorilError):
    """What was asked of a job does not fit where it is; nothing changed.

    Attributes:
        job_id: the job.
        state: where it is.
        expected: where it would have to be.
    """

    def __init__(self, job_id: str, state: str, expected: str) -> None:
        super().__init__(f"job {job_id} is {state}; expected {expected}. Ask state() first")
        self.job_id = job_id
        self.state = state
        self.expected = expected


class JobLocked(TorilError):
    """The job, or a child of it that is still to end, is being processed; nothing changed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id}, or one of its children, is being processed and cannot be removed; "
            "wait for its end, or cancel it"
        )
        self.job_id = job_id


class JobNotRemovable(TorilError):
    """The job cannot be removed as it stands; nothing changed."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id} cannot be removed: {reason}")
        self.job_id = job_id


class QueueActive(TorilError):
    """The queue cannot be destroyed while its jobs run, or somebody resumes it."""

    def __init__(self, queue: str, reason: str) -> None:
        super().__init__(f"queue {queue!r} cannot be obliterated: {reason}")
        self.queue = queue


class RedisUnavailable(TorilError, ConnectionError):
    """Redis cannot be reached, or cannot take writes now; trying again later may work."""


class RedisRefused(TorilError):
    """Redis answered a script with an error that would come again (wrong type under a key …)."""


class SandboxUnavailable(TorilError):
    """A child could not be set up; `remedy` says what to do.

    Attributes:
        level: the level that cannot be enforced on this host, if that is the reason.
        missing: names of the mechanisms that it lacks.
    """

    def __init__(
        self, reason: str, remedy: str = "", *, level: str = "", missing: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{reason}. {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy
        self.level = level
        self.missing = tuple(missing)


class ProcessorImportError(SandboxUnavailable):
    """The processor cannot be imported, or is not one; `traceback` is the import's own."""

    def __init__(self, reason: str, remedy: str = "", traceback: str = "") -> None:
        super().__init__(reason, remedy)
        self.traceback = traceback


class ProtocolError(TorilError):
    """A child broke a rule of the frame protocol; `rule` names it."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class Unrecoverable(Exception):
    """Raise it in a processor to fail the job for good, whatever attempts are left."""


class Delayed(Exception):
    """Raise it in a processor to run the job again later; it costs no attempt.

    Args:
        until: how long from now, `"10s"` or a timedelta, or when, an aware datetime.
    """

    def __init__(self, until: str | timedelta | datetime) -> None:
        super().__init__(f"delayed until {until}")
        self.until = until


class RateLimited(Exception):
    """Raise it in a processor to put the job back and hold the whole queue for a while.

    Args:
        after: how long nothing of the queue is claimed, `"10s"` or a timedelta.
    """

    def __init__(self, after: str | timedelta) -> None:
        super().__init__(f"rate limited for {after}")
        self.after = after


class WaitingChildren(Exception):
    """Raise it in a processor to run the job again when its children have ended; no attempt lost.

    Without children the job fails; with none left to wait for it runs again at once.
    """

    def __init__(self) -> None:
        super().__init__("waits for its children")


class Interrupted(BaseException):
    """Raised in a running processor when the worker stops; the job goes back to the queue.

    Derives from BaseException so that `except Exception` in a processor does not swallow it.
    """


class SoftTimeout(BaseException):
    """Raised in a running processor whose time is up, shortly before its child is killed."""


class Cancelled(BaseException):
    """Raised in a running processor whose job was cancelled."""
