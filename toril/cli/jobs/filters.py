"""Which jobs are meant: filters, and walks over those that match, a page at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from toril.call import Verdict
from toril.errors import InvalidOption
from toril.units import duration_ms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from toril.runtime.job import Job
    from toril.runtime.queue import Queue
    from toril.runtime.reading import JobRecord

PAGE = 100
"""Jobs held at a time; chosen: a job's data may be a megabyte."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a job has to be like.

    Attributes:
        states: in one of them.
        name: its name, with `*` and `?`; None: any.
        verdicts: how its last attempt ended; none: any.
        reason: a part of its failed reason, in whatever case; None: any.
        older_ms: least age; None: any. Likewise `younger_ms`, the greatest.
    """

    states: tuple[str, ...]
    name: str | None = None
    verdicts: frozenset[str] = frozenset()
    reason: str | None = None
    older_ms: int | None = None
    younger_ms: int | None = None

    @classmethod
    def of(cls, options: argparse.Namespace, states: Sequence[str]) -> Filter:
        """The filter of a command line.

        Args:
            options: with the flags of filters.
            states: those that count unless some are named.

        Raises:
            InvalidOption: no duration, or no such verdict.
        """
        known = {verdict.value for verdict in Verdict}
        for word in options.verdict or ():
            if word not in known:
                raise InvalidOption(
                    f"--verdict is {word!r}; expected one of {', '.join(sorted(known))}"
                )
        return cls(
            tuple(dict.fromkeys(options.state or states)),
            options.name,
            frozenset(options.verdict or ()),
            options.reason,
            None if options.older is None else duration_ms(options.older, "--older"),
            None if options.younger is None else duration_ms(options.younger, "--younger"),
        )

    def matches(self, job: JobRecord, now_ms: float) -> bool:
        """Is the job, in one of the states, one of those that are meant?"""
        age_ms = now_ms - (job.finished_on_ms or job.timestamp_ms)
        return (
            (self.name is None or fnmatchcase(job.name, self.name))
            and (not self.verdicts or job.verdict in self.verdicts)
            and (
                self.reason is None
                or self.reason.casefold() in (job.failed_reason or "").casefold()
            )
            and (self.older_ms is None or age_ms >= self.older_ms)
            and (self.younger_ms is None or age_ms <= self.younger_ms)
        )


def is_filtered(options: argparse.Namespace) -> bool:
    """Does the command line choose jobs at all?"""
    names = ("state", "name", "verdict", "reason", "older", "younger")
    return any(getattr(options, name) is not None for name in names)


def matching(queue: Queue, wanted: Filter, *, ascending: bool = False) -> Iterator[tuple[str, Job]]:
    """State and job of all that match, to look at."""
    now_ms = time.time() * 1000
    for state in wanted.states:
        for job in queue.iter_jobs(state, ascending=ascending, page=PAGE):
            if wanted.matches(job, now_ms):
                yield state, job


def matching_to_change(queue: Queue, wanted: Filter) -> Iterator[tuple[str, Job]]:
    """State and job of all that match, while each may be taken out of its state.

    From the last rank to the first, in ascending order: what is taken out moves nothing that is
    still to come, and what comes back, or in, stands where it was already looked at. It ends.
    """
    now_ms = time.time() * 1000
    for state in wanted.states:
        end = queue.counts()[state]
        while end > 0:
            start = max(0, end - PAGE)
            for job in reversed(queue.get_jobs(state, start, end - 1, ascending=True)):
                if wanted.matches(job, now_ms):
                    yield state, job
            end = start
