"""A producer of one queue: every method of `Queue` and `AsyncQueue` as a program, once.

The two queues only run these programs; nothing that decides lives in them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from toril.errors import BulkAddFailed, InvalidInput, InvalidOption, TorilError
from toril.runtime import adding, asking, reading
from toril.runtime.dialog import Program, call, call_all
from toril.runtime.keys import DEFAULT_PREFIX, is_job_id, key_base
from toril.runtime.limiter import RateLimit, remove_limit, set_limit
from toril.runtime.newjob import AddOptions, JobDefaults, NewJob
from toril.runtime.preparing import OptionsInUse, PreparedJob, prepared_job
from toril.sizes import MAX_DATA_BYTES
from toril.units import duration_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from toril.runtime.reading import JobRecord


R = TypeVar("R")
Made = Callable[..., R]
"""Makes what stands for an added job of the first fields of a `JobRecord`, such as `JobRecord`."""


class Producer:
    """Adds to and reads from one queue, through whatever driver.

    Attributes:
        base: `P:Q:`.

    Raises:
        InvalidQueueName: the name cannot name a queue.
        InvalidOption: a default or a limit is outside its range.
    """

    def __init__(
        self,
        name: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        defaults: JobDefaults | None = None,
        max_data_bytes: int = MAX_DATA_BYTES,
    ) -> None:
        self.base = key_base(prefix, name)
        if not 0 < max_data_bytes <= MAX_DATA_BYTES:
            raise InvalidOption(
                f"max_data_bytes is {max_data_bytes!r}; expected 1 to {MAX_DATA_BYTES}, "
                "which workers take"
            )
        given: JobDefaults = defaults or {}
        NewJob("defaults", **given)
        self._options = OptionsInUse(given.copy())
        self._max_data_bytes = max_data_bytes
        self._keys = adding.RequestKeys()
        self._version = adding.VERSION

    def add(self, name: str, data: Any, options: AddOptions, make: Made[R]) -> Program[R]:
        """Add one job, and make what stands for it.

        Raises:
            InvalidInput: nothing was written.
            ParentGone: its parent is not there; nothing was written. So with `ParentTaken`.
            RedisUnavailable: it is not known to be added.
            RedisRefused: it was not added.
        """
        stored = self._options.given(options)
        prepared = prepared_job(name, data, stored, self._max_data_bytes)
        return _made(make, prepared, data, (yield from self.add_prepared(prepared)))

    def add_prepared(self, prepared: PreparedJob) -> Program[adding.Added]:
        """Add one job that was checked.

        Raises:
            ParentGone: its parent is not there; nothing was written. So with `ParentTaken`.
            RedisUnavailable: it is not known to be added.
            RedisRefused: it was not added.
        """
        key = self._keys.take()
        command = adding.add_call(self.base, (prepared,), key, version=self._version)
        (added,) = yield from call(command)
        self._keys.give_back(key)
        self._version = ""
        if isinstance(added, TorilError):
            raise added
        return added

    def add_bulk(self, jobs: Iterable[NewJob], make: Made[R]) -> Program[list[R]]:
        """Add many jobs, and make what stands for them; all are checked before one is written.

        Raises:
            InvalidInput: nothing was written; a note says which index.
            BulkAddFailed: some were not added.
        """
        data: list[Any] = []
        prepared: list[PreparedJob] = []
        for index, job in enumerate(jobs):
            prepared.append(self._prepared_at(index, job))
            data.append(job.data)
        ends: list[adding.Added | Exception] = []
        for batch in adding.batches(prepared):
            try:
                ends += yield from self._add_batch(prepared, batch)
            except TorilError as error:
                ends += [error] * (len(prepared) - batch.start)
                break
        return list(map(partial(_made, make), prepared, data, _all_added(ends)))

    def get_job(self, job_id: str) -> Program[JobRecord | None]:
        """A job as it is now."""
        if not is_job_id(job_id):
            return None
        return (yield from call(reading.get_job(self.base, job_id)))

    def cancel(self, job_id: str) -> Program[asking.Cancellation]:
        """Fail a job that waits, or have it stopped where it runs."""
        if not is_job_id(job_id):
            return asking.Cancellation.GONE
        return (yield from call(asking.cancel_job(self.base, job_id)))

    def stack(
        self, job_id: str, timeout: str | timedelta, clock: Callable[[], float], slice_ms: int
    ) -> Program[str | None]:
        """Where a running job stands."""
        timeout_s = duration_ms(timeout, "timeout") / 1000
        if not is_job_id(job_id):
            return None
        return (yield from asking.ask_stack(self.base, job_id, timeout_s, clock, slice_ms))

    def counts(self) -> Program[dict[str, int]]:
        """How many jobs are in which state."""
        return (yield from call(reading.counts(self.base)))

    def set_rate_limit(
        self, limit: int | RateLimit, per: str | timedelta, burst: int | None
    ) -> Program[RateLimit]:
        """Apply a limit to all workers at once."""
        if not isinstance(limit, RateLimit):
            limit = RateLimit.of(limit, per, burst=burst)
        return (yield from call(set_limit(self.base, limit))) or limit

    def remove_rate_limit(self) -> Program[None]:
        """Let workers run freely, until a configuration brings a limit again."""
        yield from call(remove_limit(self.base))

    def _add_batch(
        self, prepared: Sequence[PreparedJob], batch: range
    ) -> Program[list[adding.Added | Exception]]:
        key = self._keys.take()
        calls = adding.add_calls(self.base, prepared, batch, key, version=self._version)
        results = yield from call_all([one.command for one in calls])
        self._keys.give_back(key)
        self._version = ""
        ends: list[adding.Added | Exception] = []
        for one, result in zip(calls, results, strict=True):
            ends += [result] * len(one.indexes) if isinstance(result, Exception) else result
        return ends

    def _prepared(self, job: NewJob) -> PreparedJob:
        return prepared_job(job.name, job.data, self._options.of(job), self._max_data_bytes)

    def _prepared_at(self, index: int, job: NewJob) -> PreparedJob:
        if not isinstance(job, NewJob):
            raise InvalidInput(
                f"index {index} of add_bulk is of type {type(job).__qualname__}; "
                "expected NewJob('name', data, …)"
            )
        try:
            return self._prepared(job)
        except InvalidInput as error:
            error.add_note(f"at index {index} of add_bulk; no job was added")
            raise


_decoded = msgspec.json.Decoder(dict[str, Any]).decode


def _all_added(ends: Sequence[adding.Added | Exception]) -> list[adding.Added]:
    added = {at: end for at, end in enumerate(ends) if isinstance(end, adding.Added)}
    if len(added) < len(ends):
        failed = {at: end for at, end in enumerate(ends) if isinstance(end, Exception)}
        raise BulkAddFailed({at: one.id for at, one in added.items()}, failed)
    return list(added.values())


def _made(make: Made[R], prepared: PreparedJob, data: Any, added: adding.Added) -> R:
    options = prepared.options
    return make(
        added.id,
        prepared.name,
        {} if data is None else data,
        _decoded(options.text),
        int(options.timestamp or added.now_ms),
        options.delay_ms,
        options.priority,
    )
