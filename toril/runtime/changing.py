"""What can be done to one job: commands, and programs that are methods of `Queue` and `Job`.

A command's script checks everything and answers with a word; here words become values and errors.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from toril.errors import (
    InvalidInput,
    InvalidOption,
    JobGone,
    JobLocked,
    JobNotInState,
    JobNotRemovable,
)
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.dialog import Program, call, plain
from toril.runtime.jobdata import data_text
from toril.runtime.keys import is_job_id
from toril.runtime.newjob import MAX_PRIORITY
from toril.runtime.numbers import whole
from toril.runtime.once import UNNAMED, Request, once
from toril.units import duration_ms

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta

FINISHED = ("completed", "failed")


def remove_job(
    base: str, job_id: str, request: Request = UNNAMED, *, with_children: bool
) -> Command[str]:
    """Take a job away, wherever it is."""
    children = "children" if with_children else ""
    return Command("remove", (base,), (REAL_TIME, *request, job_id, children), _word)


def promote_job(base: str, job_id: str, request: Request = UNNAMED) -> Command[str]:
    """Make a delayed job runnable."""
    return Command("promote_job", (base,), (REAL_TIME, *request, job_id), _word)


def retry_job(
    base: str,
    job_id: str,
    state: str,
    resets: Collection[str] = (),
    request: Request = UNNAMED,
) -> Command[str]:
    """Make a finished job runnable; resets are `made` and `started`."""
    words = [word if word in resets else "" for word in ("made", "started")]
    return Command("retry_job", (base,), (REAL_TIME, *request, job_id, state, *words), _word)


def change_job_delay(
    base: str,
    job_id: str,
    delay_ms: int,
    request: Request = UNNAMED,
    *,
    now_ms: int | str = REAL_TIME,
) -> Command[str]:
    """Delay a delayed job anew."""
    return Command("change_delay", (base,), (now_ms, *request, job_id, delay_ms), _word)


def change_job_priority(
    base: str, job_id: str, priority: int, request: Request = UNNAMED, *, lifo: bool
) -> Command[str]:
    """Give a job another priority."""
    args = (REAL_TIME, *request, job_id, priority, "lifo" if lifo else "")
    return Command("change_priority", (base,), args, _word)


def update_job_data(base: str, job_id: str, data: bytes) -> Command[str]:
    """Replace a job's data."""
    return Command("update_data", (base,), (REAL_TIME, job_id, data), _word)


def update_job_progress(
    base: str, job_id: str, progress: bytes, request: Request = UNNAMED
) -> Command[str]:
    """Tell how far a job is."""
    return Command("update_progress", (base,), (REAL_TIME, *request, job_id, progress), _word)


def add_log_line(
    base: str, job_id: str, line: bytes, keep_logs: int | None, request: Request = UNNAMED
) -> Command[int]:
    """Add a line to a job's log; -1 when there is no such job."""
    keep = "" if keep_logs is None else keep_logs
    return Command("add_log", (base,), (REAL_TIME, *request, job_id, line, keep), int)


def remove(base: str, job_id: str, *, remove_children: bool = True) -> Program[bool]:
    """Remove a job, wherever it is, and by default all its children; False if there was none.

    A parent that waited for nothing but this job becomes runnable.

    Raises:
        JobLocked: it, or a child that is still to end, is being processed; nothing was removed.
        JobNotRemovable: it carries a schedule on, or has too many descendants.
    """
    if not is_job_id(job_id):
        return False
    word = yield from once(partial(remove_job, base, job_id, with_children=remove_children))
    match word:
        case "locked":
            raise JobLocked(job_id)
        case "scheduled":
            raise JobNotRemovable(job_id, "it carries a schedule on; remove its scheduler")
        case "too-many":
            raise JobNotRemovable(
                job_id, "it has more than 10000 descendants; remove its children first"
            )
    return word == "removed"


def promote(base: str, job_id: str) -> Program[None]:
    """Make a delayed job runnable now.

    Raises:
        JobGone: there is no such job.
        JobNotInState: it is not delayed.
    """
    _existing(job_id)
    word = yield from once(partial(promote_job, base, job_id))
    _expect(word, job_id, "delayed")


def retry(
    base: str,
    job_id: str,
    state: str = "failed",
    *,
    reset_attempts_made: bool = False,
    reset_attempts_started: bool = False,
) -> Program[None]:
    """Have a finished job run again.

    Its counters go on, so that a job without attempts left fails at its first error, unless they
    are reset: attempts made together with crashes, attempts started (the fencing number).

    Raises:
        InvalidOption: a state other than `failed` and `completed`.
        JobGone: there is no such job.
        JobNotInState: it is not in that state.
    """
    check_finished(state)
    _existing(job_id)
    wanted = {"made": reset_attempts_made, "started": reset_attempts_started}
    resets = [word for word, is_wanted in wanted.items() if is_wanted]
    word = yield from once(partial(retry_job, base, job_id, state, resets))
    _expect(word, job_id, state)


def update_data(base: str, job_id: str, data: Any) -> Program[None]:
    """Replace a job's data; one that runs sees it in its next attempt.

    Raises:
        InvalidInput: no JSON, or too large.
        JobGone: there is no such job.
    """
    text = data_text(data)
    _existing(job_id)
    _expect((yield from call(update_job_data(base, job_id, text))), job_id, "there")


def update_progress(base: str, job_id: str, progress: Any) -> Program[None]:
    """Tell how far a job is: a number, or anything that is JSON.

    Raises:
        InvalidInput: no JSON, or too large.
        JobGone: there is no such job.
    """
    text = b"null" if progress is None else data_text(progress, what="progress")
    _existing(job_id)
    word = yield from once(partial(update_job_progress, base, job_id, text))
    _expect(word, job_id, "there")


def log(base: str, job_id: str, line: str, *, keep_logs: int | None = None) -> Program[int]:
    """Add a line to a job's log; how many lines there are now.

    Args:
        base: `P:Q:`.
        job_id: the job.
        line: the line.
        keep_logs: the newest so many stay; without it as many as the job's own option says.

    Raises:
        InvalidInput: no text, or no such number.
        JobGone: there is no such job.
    """
    text = _line(line)
    if keep_logs is not None:
        whole("keep_logs", keep_logs, 0)
    _existing(job_id)
    count = yield from once(partial(add_log_line, base, job_id, text, keep_logs))
    if count < 0:
        raise JobGone(job_id)
    return count


def clear_logs(base: str, job_id: str, keep_logs: int = 0) -> Program[None]:
    """Forget a job's log lines but the newest `keep_logs`."""
    whole("keep_logs", keep_logs, 0)
    _existing(job_id)
    key = f"{base}{job_id}:logs"
    yield from plain(("LTRIM", key, -keep_logs, -1) if keep_logs else ("DEL", key))


def change_delay(base: str, job_id: str, delay: str | timedelta) -> Program[None]:
    """Give a delayed job another delay, from now on.

    Raises:
        InvalidOption: no duration.
        JobGone: there is no such job.
        JobNotInState: it is not delayed.
    """
    delay_ms = duration_ms(delay, "delay")
    _existing(job_id)
    word = yield from once(partial(change_job_delay, base, job_id, delay_ms))
    _expect(word, job_id, "delayed")


def change_priority(base: str, job_id: str, priority: int, *, lifo: bool = False) -> Program[None]:
    """Give a job another priority, 0 for none; one that waits moves to its new place.

    Args:
        base: `P:Q:`.
        job_id: the job.
        priority: 1 (first) to 2097151; 0 is none, and jobs without run before all others.
        lifo: before the jobs of the same priority instead of behind them.

    Raises:
        InvalidOption: no such priority.
        JobGone: there is no such job.
    """
    whole("priority", priority, 0, MAX_PRIORITY)
    _existing(job_id)
    word = yield from once(partial(change_job_priority, base, job_id, priority, lifo=lifo))
    _expect(word, job_id, "there")


def check_finished(state: str) -> str:
    """The state itself, if jobs in it have finished.

    Raises:
        InvalidOption: another state.
    """
    if state not in FINISHED:
        raise InvalidOption(f"state is {state!r}; expected 'failed' or 'completed'")
    return state


def _existing(job_id: str) -> None:
    if not is_job_id(job_id):
        raise JobGone(job_id)


def _expect(word: str, job_id: str, expected: str) -> None:
    if word == "gone":
        raise JobGone(job_id)
    if word != "done":
        raise JobNotInState(job_id, word, expected)


def _line(line: object) -> bytes:
    if not isinstance(line, str):
        raise InvalidInput(f"log line is of type {type(line).__qualname__}; expected text")
    return line.encode(errors="replace")


def _word(reply: bytes) -> str:
    return reply.decode()
