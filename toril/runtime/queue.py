"""`Queue` and `AsyncQueue`: the producer's side, blocking and asyncio.

Both have the same methods and run the same programs (`producing.py`); nothing is decided here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from toril.call import MAX_DATA_BYTES
from toril.runtime.connection import server_name
from toril.runtime.drivers import AsyncDriver, BlockingDriver
from toril.runtime.embedded import url_of
from toril.runtime.job import AsyncJob, Job
from toril.runtime.keys import DEFAULT_PREFIX
from toril.runtime.newjob import AddOptions, JobDefaults, NewJob
from toril.runtime.producing import Producer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta
    from types import TracebackType
    from typing import Self, Unpack

    from toril.runtime.asking import Cancellation
    from toril.runtime.limiter import RateLimit
    from toril.runtime.reading import JobRecord

DEFAULT_REDIS = "redis://localhost"


class Queue:
    """A BullMQ queue, to add jobs to and to ask about; threads may share one.

    Args:
        name: the queue's name, without `:`.
        redis: `redis://…`, `rediss://…` (TLS), `unix://…`, as redis-py takes them, or `embedded`
            for a private server of this user.
        prefix: the key prefix that all of the queue's programs share.
        defaults: options for jobs that do not say otherwise, such as `{"attempts": 3}`.
        max_data_bytes: refuse larger job data.

    Raises:
        InvalidInput: a name, URL, default or limit that cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str = DEFAULT_REDIS,
        prefix: str = DEFAULT_PREFIX,
        defaults: JobDefaults | None = None,
        max_data_bytes: int = MAX_DATA_BYTES,
    ) -> None:
        self._producer = Producer(
            name, prefix=prefix, defaults=defaults, max_data_bytes=max_data_bytes
        )
        url = url_of(redis)
        self.name = name
        self._server = server_name(url)
        self._driver = BlockingDriver(url)

    def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> Job:
        """Add a job; options as in `NewJob`.

        With a `job_id` that is there already nothing changes, and the job returned has that id.

        Raises:
            InvalidInput: nothing was written.
            RedisUnavailable: it is not known to be added.
            RedisRefused: it was not added.
        """
        return self._job(self._driver.run(self._producer.add(NewJob(name, data, **options))))

    def add_bulk(self, jobs: Iterable[NewJob]) -> list[Job]:
        """Add many jobs in few round trips; all are checked before the first is written.

        Raises:
            InvalidInput: nothing was written.
            BulkAddFailed: some were not added; it says which.
        """
        return [self._job(record) for record in self._driver.run(self._producer.add_bulk(jobs))]

    def get_job(self, job_id: str) -> Job | None:
        """A job as it is now, or None."""
        record = self._driver.run(self._producer.get_job(job_id))
        return None if record is None else self._job(record)

    def counts(self) -> dict[str, int]:
        """How many jobs are in which state."""
        return self._driver.run(self._producer.counts())

    def set_rate_limit(
        self, limit: int | RateLimit, per: str | timedelta = "60s", *, burst: int | None = None
    ) -> RateLimit:
        """Limit all workers of the queue together, at once: `set_rate_limit(200, "60s")`.

        In every window of length d at most `burst + d * limit / per` jobs start; `burst` is as
        many as `limit` unless given.

        Raises:
            InvalidOption: a number below 1, or no duration.
        """
        return self._driver.run(self._producer.set_rate_limit(limit, per, burst))

    def remove_rate_limit(self) -> None:
        """Take the limit away; a worker's configuration may bring it again."""
        self._driver.run(self._producer.remove_rate_limit())

    def cancel(self, job_id: str) -> Cancellation:
        """Cancel a job, wherever it is; final, whatever attempts are left.

        One that waits fails at once, with the reason `cancelled`. One that runs is stopped by its
        worker: `Cancelled` is raised in its processor, then come SIGTERM and SIGKILL.

        Returns:
            "cancelled", "asked" (it runs; `get_job` and `wait` tell its end), "finished",
            "refused" (part of a flow or a schedule) or "gone".
        """
        return self._driver.run(self._producer.cancel(job_id))

    def stack(self, job_id: str, timeout: str | timedelta = "5s") -> str | None:
        """The Python stack of a running job, as its child tells it; it runs on.

        Returns:
            The text; None when the job does not run, or no worker of ours answered in time.
        """
        driver = self._driver
        program = self._producer.stack(job_id, timeout, time.monotonic, driver.slice_ms)
        return driver.run(program)

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Queue({self.name!r}, redis={self._server!r})"

    def _job(self, record: JobRecord) -> Job:
        return Job.of(record, self._driver, self._producer.base)


class AsyncQueue:
    """A BullMQ queue for asyncio; arguments and methods as `Queue`, with `await`.

    One event loop uses it; its tasks may share it.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str = DEFAULT_REDIS,
        prefix: str = DEFAULT_PREFIX,
        defaults: JobDefaults | None = None,
        max_data_bytes: int = MAX_DATA_BYTES,
    ) -> None:
        self._producer = Producer(
            name, prefix=prefix, defaults=defaults, max_data_bytes=max_data_bytes
        )
        url = url_of(redis)
        self.name = name
        self._server = server_name(url)
        self._driver = AsyncDriver(url)

    async def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> AsyncJob:
        """Add a job; see `Queue.add`."""
        return self._job(await self._driver.run(self._producer.add(NewJob(name, data, **options))))

    async def add_bulk(self, jobs: Iterable[NewJob]) -> list[AsyncJob]:
        """Add many jobs in few round trips; see `Queue.add_bulk`."""
        records = await self._driver.run(self._producer.add_bulk(jobs))
        return [self._job(record) for record in records]

    async def get_job(self, job_id: str) -> AsyncJob | None:
        """A job as it is now, or None."""
        record = await self._driver.run(self._producer.get_job(job_id))
        return None if record is None else self._job(record)

    async def counts(self) -> dict[str, int]:
        """How many jobs are in which state."""
        return await self._driver.run(self._producer.counts())

    async def set_rate_limit(
        self, limit: int | RateLimit, per: str | timedelta = "60s", *, burst: int | None = None
    ) -> RateLimit:
        """Limit all workers of the queue together, at once; see `Queue.set_rate_limit`."""
        return await self._driver.run(self._producer.set_rate_limit(limit, per, burst))

    async def remove_rate_limit(self) -> None:
        """Take the limit away; a worker's configuration may bring it again."""
        await self._driver.run(self._producer.remove_rate_limit())

    async def cancel(self, job_id: str) -> Cancellation:
        """Cancel a job, wherever it is; see `Queue.cancel`."""
        return await self._driver.run(self._producer.cancel(job_id))

    async def stack(self, job_id: str, timeout: str | timedelta = "5s") -> str | None:  # noqa: ASYNC109 - the same signature as Queue's
        """The Python stack of a running job; see `Queue.stack`."""
        driver = self._driver
        program = self._producer.stack(job_id, timeout, time.monotonic, driver.slice_ms)
        return await driver.run(program)

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncQueue({self.name!r}, redis={self._server!r})"

    def _job(self, record: JobRecord) -> AsyncJob:
        return AsyncJob.of(record, self._driver, self._producer.base)
