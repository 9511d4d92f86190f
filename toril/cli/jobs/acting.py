"""`toril jobs retry|promote|remove|cancel`: by id, or by filter after asking."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from toril.cli.asking import DECLINED, is_wanted, need_terminal
from toril.cli.jobs.filters import Filter, is_filtered, matching, matching_to_change
from toril.cli.jobs.listing import listed, show_table
from toril.cli.output import put, put_json, say
from toril.cli.parser import UsageError
from toril.cli.records import JobDone, Planned
from toril.errors import JobGone, JobLocked, JobNotInState, JobNotRemovable
from toril.runtime.asking import Cancellation
from toril.runtime.changing import FINISHED
from toril.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from toril.runtime.job import Job
    from toril.runtime.queue import Queue

SAMPLE = 5
"""Jobs shown before many are changed; chosen."""

_TELL_EVERY = 1000

_CANCELLATIONS = {
    Cancellation.CANCELLED: "it had not started, or had been cancelled before",
    Cancellation.ASKED: "it runs; its worker was told to stop it",
    Cancellation.FINISHED: "it had ended already; nothing was changed",
    Cancellation.REFUSED: "it waits for children or carries a schedule on; remove it",
    Cancellation.GONE: "there is no such job",
}


@dataclass(frozen=True, slots=True)
class Pick:
    """A job to act on; without a state or a job it was named by its id and is not there."""

    id: str
    state: str
    job: Job | None


@dataclass(frozen=True, slots=True)
class Change:
    """What can be done to many jobs.

    Attributes:
        states: in which it can be done, the first `usual` of them unless others are named.
        usual: how many of the states are meant without `--state`.
        act: does it to one; its word, and a remark.
    """

    states: tuple[str, ...]
    usual: int
    act: Callable[[Queue, Pick, argparse.Namespace], tuple[str, str | None]]


def change_jobs(queue: Queue, options: argparse.Namespace) -> int:
    """Do what the action says, to the jobs that are named or chosen.

    Raises:
        UsageError: neither ids nor filters, or both, or nobody to ask.
    """
    change = _CHANGES[options.action]
    if options.ids:
        if is_filtered(options) or options.all:
            raise UsageError("expected ids, or filters, not both")
        if options.dry_run:
            found = ((queue.get_job_state(one), queue.get_job(one)) for one in options.ids)
            _show_plan(_plan(queue, ((s, job) for s, job in found if job), options), options)
            return os.EX_OK
        return _settle(_named(queue, change, options), options, is_bulk=False)
    wanted = _filter(change, options)
    need_terminal(options)
    if options.dry_run or not options.yes:
        planned = _plan(queue, matching(queue, wanted), options)
        if options.dry_run:
            _show_plan(planned, options)
            return os.EX_OK
        if not planned.count:
            say(f"no such job in queue {queue.name!r}")
            return os.EX_OK
        _show_sample(planned)
        if not is_wanted(f"{options.action} {_jobs(planned.count)} of queue {queue.name!r}?"):
            return DECLINED
    return _settle(_chosen(queue, change, wanted, options), options, is_bulk=True)


def _filter(change: Change, options: argparse.Namespace) -> Filter:
    if not (is_filtered(options) or options.all):
        raise UsageError("expected ids, or filters, or --all; --dry-run shows what is meant")
    if not change.usual and not options.state:
        raise UsageError("expected --state, which says what kind of jobs is meant")
    for state in options.state or ():
        if state not in change.states:
            known = ", ".join(change.states)
            raise UsageError(f"--state is {state!r}; {options.action} is for jobs that are {known}")
    return Filter.of(options, change.states[: change.usual])


def _plan(queue: Queue, meant: Iterable[tuple[str, Job]], options: argparse.Namespace) -> Planned:
    left = iter(meant)
    sample = [listed(state, job) for state, job in islice(left, SAMPLE)]
    count = len(sample) + sum(1 for _ in left)
    return Planned(options.action, queue.name, count, sample)


def _show_plan(planned: Planned, options: argparse.Namespace) -> None:
    if options.json:
        put_json(planned)
        return
    put(f"{planned.action} would change {_jobs(planned.count)} of queue {visible(planned.queue)}")
    if planned.sample:
        show_table(planned.sample)


def _show_sample(planned: Planned) -> None:
    for job in planned.sample:
        reason = (job.failed_reason or "").partition("\n")[0]
        say(f"  {job.id} {job.name} {job.state} {reason}".rstrip())
    if planned.count > len(planned.sample):
        say(f"  and {planned.count - len(planned.sample)} more")


def _named(queue: Queue, change: Change, options: argparse.Namespace) -> Iterator[JobDone]:
    for job_id in options.ids:
        pick = Pick(job_id, queue.get_job_state(job_id), queue.get_job(job_id))
        yield _done(queue, change, pick, options)


def _chosen(
    queue: Queue, change: Change, wanted: Filter, options: argparse.Namespace
) -> Iterator[JobDone]:
    for state, job in matching_to_change(queue, wanted):
        yield _done(queue, change, Pick(job.id, state, job), options)


def _done(queue: Queue, change: Change, pick: Pick, options: argparse.Namespace) -> JobDone:
    try:
        word, remark = change.act(queue, pick, options)
    except JobGone:
        word, remark = "gone", "there is no such job"
    except (JobNotInState, JobLocked, JobNotRemovable) as error:
        word, remark = "refused", str(error)
    return JobDone(pick.id, word, remark)  # type: ignore[arg-type]


def _settle(done: Iterable[JobDone], options: argparse.Namespace, *, is_bulk: bool) -> int:
    """Tell of each as it is done; of many how it went, also where it was broken off."""
    words: Counter[str] = Counter()
    try:
        for one in done:
            words[one.result] += 1
            _tell(one, options, is_bulk=is_bulk)
            if is_bulk and words.total() % _TELL_EVERY == 0 and sys.stderr.isatty():
                say(f"{words.total()} jobs …")
    finally:
        if is_bulk:
            parts = [f"{count} {word}" for word, count in sorted(words.items())]
            say(", ".join(parts) or "no such job")
    # Of many some may move on by themselves meanwhile; of those that were named, each counts.
    failures = {"refused"} if is_bulk else {"refused", "gone", "finished"}
    return os.EX_UNAVAILABLE if failures & words.keys() else os.EX_OK


def _tell(one: JobDone, options: argparse.Namespace, *, is_bulk: bool) -> None:
    """As JSON; for people, of many only what did not go as wanted."""
    if options.json:
        put_json(one)
    elif not is_bulk or one.result == "refused":
        put(visible(f"{one.id} {one.result}" + (f": {one.reason}" if one.reason else "")))


def _retry(_: Queue, pick: Pick, options: argparse.Namespace) -> tuple[str, None]:
    if pick.job is None:
        raise JobGone(pick.id)
    if pick.state not in FINISHED:
        raise JobNotInState(pick.id, pick.state, "failed or completed")
    resets = options.reset_attempts
    pick.job.retry(pick.state, reset_attempts_made=resets, reset_attempts_started=False)
    return "retried", None


def _promote(_: Queue, pick: Pick, __: argparse.Namespace) -> tuple[str, None]:
    if pick.job is None:
        raise JobGone(pick.id)
    pick.job.promote()
    return "promoted", None


def _remove(queue: Queue, pick: Pick, options: argparse.Namespace) -> tuple[str, None]:
    if not queue.remove(pick.id, remove_children=not options.keep_children):
        raise JobGone(pick.id)
    return "removed", None


def _cancel(queue: Queue, pick: Pick, _: argparse.Namespace) -> tuple[str, str]:
    found = queue.cancel(pick.id)
    return found.value, _CANCELLATIONS[found]


def _jobs(count: int) -> str:
    return f"{count} {'job' if count == 1 else 'jobs'}"


_UNFINISHED = ("waiting", "active", "delayed", "prioritized", "paused")

_CHANGES = {
    "retry": Change(("failed", "completed"), 1, _retry),
    "promote": Change(("delayed",), 1, _promote),
    "remove": Change((*_UNFINISHED, "completed", "failed", "waiting-children"), 0, _remove),
    "cancel": Change(_UNFINISHED, len(_UNFINISHED), _cancel),
}
