"""`Job` and `AsyncJob`: a job as it was at one moment, and what can be asked of it and done to it.

Their methods are programs (`changing.py`, `listing.py`), the same for both.
"""

from __future__ import annotations

import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from toril.runtime import changing, children, deduplicating, dependencies, listing
from toril.runtime.drivers import AsyncDriver, BlockingDriver
from toril.runtime.methods import on_async_job, on_job
from toril.runtime.reading import JobRecord
from toril.runtime.waiting import wait
from toril.units import duration_ms

if TYPE_CHECKING:
    from datetime import timedelta

DEFAULT_WAIT = "30s"
"""How long `wait` waits unless told; chosen: what most callers of a web service bear."""


_values = attrgetter(*JobRecord.__struct_fields__)


class _Reachable(JobRecord, frozen=True, kw_only=True):
    """A job with its way to Redis, which is neither shown nor compared."""

    _driver: Any
    _base: str

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(_values(self) == _values(other))

    __hash__ = None  # type: ignore[assignment]  # It holds mappings.

    def __repr__(self) -> str:
        shown = zip(JobRecord.__struct_fields__, _values(self), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown)})"


class Job(_Reachable, frozen=True, kw_only=True):
    """A job as `Queue` hands it out; its values do not change, ask `get_job` for newer ones."""

    _driver: BlockingDriver

    @classmethod
    def of(cls, record: JobRecord, driver: BlockingDriver, base: str) -> Job:
        """The job with its way to Redis."""
        return cls(*_values(record), _driver=driver, _base=base)

    def wait(self, timeout: str | timedelta = DEFAULT_WAIT) -> Any:
        """Wait until the job has completed; its return value.

        Raises:
            JobFailed: it failed for good.
            JobGone: it is not in Redis any more, so that its end cannot be known.
            WaitTimeout: it did not end in time; it goes on.
            RedisUnavailable: Redis could not be reached, up to the end of the time.
        """
        timeout_s = duration_ms(timeout, "timeout") / 1000
        driver = self._driver
        return driver.run(wait(self._base, self.id, timeout_s, time.monotonic, driver.slice_ms))

    state = on_job(listing.get_job_state)
    logs = on_job(listing.logs)
    log = on_job(changing.log)
    clear_logs = on_job(changing.clear_logs)
    update_data = on_job(changing.update_data)
    update_progress = on_job(changing.update_progress)
    change_delay = on_job(changing.change_delay)
    change_priority = on_job(changing.change_priority)
    promote = on_job(changing.promote)
    retry = on_job(changing.retry)
    remove = on_job(changing.remove)
    children_values = on_job(children.children_values)
    ignored_children_failures = on_job(children.ignored_children_failures)
    unprocessed_children = on_job(children.unprocessed_children)
    failed_children = on_job(children.failed_children)
    get_dependencies = on_job(dependencies.get_dependencies)
    get_dependencies_count = on_job(dependencies.get_dependencies_count)
    remove_child_dependency = on_job(dependencies.remove_child_dependency)
    remove_unprocessed_children = on_job(dependencies.remove_unprocessed_children)
    remove_deduplication_key = on_job(deduplicating.remove_own_deduplication_key)


class AsyncJob(_Reachable, frozen=True, kw_only=True):
    """A job as `AsyncQueue` hands it out; the same as `Job`, with `await`."""

    _driver: AsyncDriver

    @classmethod
    def of(cls, record: JobRecord, driver: AsyncDriver, base: str) -> AsyncJob:
        """The job with its way to Redis."""
        return cls(*_values(record), _driver=driver, _base=base)

    async def wait(self, timeout: str | timedelta = DEFAULT_WAIT) -> Any:  # noqa: ASYNC109 - the same signature as Job's
        """Wait until the job has completed; its return value.

        Raises:
            JobFailed: it failed for good.
            JobGone: it is not in Redis any more, so that its end cannot be known.
            WaitTimeout: it did not end in time; it goes on.
            RedisUnavailable: Redis could not be reached, up to the end of the time.
        """
        timeout_s = duration_ms(timeout, "timeout") / 1000
        driver = self._driver
        program = wait(self._base, self.id, timeout_s, time.monotonic, driver.slice_ms)
        return await driver.run(program)

    state = on_async_job(listing.get_job_state)
    logs = on_async_job(listing.logs)
    log = on_async_job(changing.log)
    clear_logs = on_async_job(changing.clear_logs)
    update_data = on_async_job(changing.update_data)
    update_progress = on_async_job(changing.update_progress)
    change_delay = on_async_job(changing.change_delay)
    change_priority = on_async_job(changing.change_priority)
    promote = on_async_job(changing.promote)
    retry = on_async_job(changing.retry)
    remove = on_async_job(changing.remove)
    children_values = on_async_job(children.children_values)
    ignored_children_failures = on_async_job(children.ignored_children_failures)
    unprocessed_children = on_async_job(children.unprocessed_children)
    failed_children = on_async_job(children.failed_children)
    get_dependencies = on_async_job(dependencies.get_dependencies)
    get_dependencies_count = on_async_job(dependencies.get_dependencies_count)
    remove_child_dependency = on_async_job(dependencies.remove_child_dependency)
    remove_unprocessed_children = on_async_job(dependencies.remove_unprocessed_children)
    remove_deduplication_key = on_async_job(deduplicating.remove_own_deduplication_key)
