"""`Job` and `AsyncJob`: a job as it was at one moment, and what can be asked about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from toril.runtime import reading
from toril.runtime.dialog import call
from toril.runtime.reading import JobRecord
from toril.runtime.waiting import wait
from toril.units import duration_ms

if TYPE_CHECKING:
    from datetime import timedelta

    from toril.runtime.drivers import AsyncDriver, BlockingDriver

DEFAULT_WAIT = "30s"
"""How long `wait` waits unless told; chosen: what most callers of a web service bear."""


@dataclass(frozen=True, slots=True)
class Job(JobRecord):
    """A job as `Queue` hands it out; its values do not change, ask `get_job` for newer ones."""

    _driver: BlockingDriver = field(repr=False, compare=False, kw_only=True)
    _base: str = field(repr=False, compare=False, kw_only=True)

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

    def state(self) -> str:
        """Where it is now: one of `counts`' names, `unknown`, or `gone`."""
        return self._driver.run(call(reading.state_of(self._base, self.id))).state

    def logs(self) -> list[str]:
        """Its log lines, oldest first."""
        return self._driver.run(call(reading.log_lines(self._base, self.id)))


@dataclass(frozen=True, slots=True)
class AsyncJob(JobRecord):
    """A job as `AsyncQueue` hands it out; the same as `Job`, with `await`."""

    _driver: AsyncDriver = field(repr=False, compare=False, kw_only=True)
    _base: str = field(repr=False, compare=False, kw_only=True)

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

    async def state(self) -> str:
        """Where it is now: one of `counts`' names, `unknown`, or `gone`."""
        return (await self._driver.run(call(reading.state_of(self._base, self.id)))).state

    async def logs(self) -> list[str]:
        """Its log lines, oldest first."""
        return await self._driver.run(call(reading.log_lines(self._base, self.id)))


def _values(record: JobRecord) -> tuple[Any, ...]:
    return tuple(getattr(record, one.name) for one in fields(record))
