"""`Queue` and `AsyncQueue`: the producer's side, blocking and asyncio.

Both have the same methods and run the same programs (`producing.py` and the modules whose functions
stand as methods below); nothing is decided here.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from toril.runtime import (
    administering,
    changing,
    deduplicating,
    dependencies,
    inspecting,
    limiting,
    listing,
)
from toril.runtime.connection import server_name
from toril.runtime.drivers import AsyncDriver, BlockingDriver
from toril.runtime.embedded import url_of
from toril.runtime.job import AsyncJob, Job
from toril.runtime.keys import DEFAULT_PREFIX
from toril.runtime.methods import on_async_queue, on_queue
from toril.runtime.producing import Producer
from toril.runtime.reading import STATES
from toril.sizes import MAX_DATA_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from datetime import timedelta
    from types import TracebackType
    from typing import Self, Unpack

    from toril.runtime.asking import Cancellation
    from toril.runtime.limiter import RateLimit
    from toril.runtime.newjob import AddOptions, JobDefaults, NewJob
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
        self._base = self._producer.base
        self._server = server_name(url)
        self._driver = BlockingDriver(url)
        self._made = partial(Job, _driver=self._driver, _base=self._base)

    def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> Job:
        """Add a job; options as in `NewJob`.

        With a `job_id` that is there already nothing changes, and the job returned has that id.

        Raises:
            InvalidInput: nothing was written.
            RedisUnavailable: it is not known to be added.
            RedisRefused: it was not added.
        """
        return self._driver.run(self._producer.add(name, data, options, self._made))

    def add_bulk(self, jobs: Iterable[NewJob]) -> list[Job]:
        """Add many jobs in few round trips; all are checked before the first is written.

        Raises:
            InvalidInput: nothing was written.
            BulkAddFailed: some were not added; it says which.
        """
        return self._driver.run(self._producer.add_bulk(jobs, self._made))

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
            "refused" (it waits for children, or carries a schedule on) or "gone".
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

    def get_jobs(
        self,
        states: str | Iterable[str] = STATES,
        start: int = 0,
        end: int = -1,
        *,
        ascending: bool = False,
    ) -> list[Job]:
        """The jobs of some states, or of all; of each from rank `start` to `end`, both included.

        `ascending` is the order in which they run, or ended. Ids without a readable job are left
        out. For many jobs see `iter_jobs`.

        Raises:
            InvalidOption: no such state.
        """
        program = listing.job_records(self._base, states, start, end, ascending=ascending)
        return [self._job(record) for record in self._driver.run(program)]

    def iter_jobs(
        self, states: str | Iterable[str] = STATES, *, ascending: bool = False, page: int = 100
    ) -> Iterator[Job]:
        """All jobs of some states, or of all, of which only `page` are held at a time.

        A job that moves meanwhile may be seen in two states, or in none.

        Raises:
            InvalidOption: no such state, or no whole number from 1.
        """
        walk: listing.Walk | None = listing.Walk.over(states, page, ascending=ascending)
        while walk is not None:
            records, walk = self._driver.run(listing.next_jobs(self._base, walk))
            yield from (self._job(record) for record in records)

    pause = on_queue(administering.pause)
    resume = on_queue(administering.resume)
    is_paused = on_queue(administering.is_paused)
    is_maxed = on_queue(administering.is_maxed)
    drain = on_queue(administering.drain)
    clean = on_queue(administering.clean)
    obliterate = on_queue(administering.obliterate)
    retry_jobs = on_queue(administering.retry_jobs)
    promote_jobs = on_queue(administering.promote_jobs)
    trim_events = on_queue(administering.trim_events)
    set_global_concurrency = on_queue(limiting.set_global_concurrency)
    get_global_concurrency = on_queue(limiting.get_global_concurrency)
    remove_global_concurrency = on_queue(limiting.remove_global_concurrency)
    set_global_rate_limit = on_queue(limiting.set_global_rate_limit)
    get_global_rate_limit = on_queue(limiting.get_global_rate_limit)
    remove_global_rate_limit = on_queue(limiting.remove_global_rate_limit)
    get_rate_limit = on_queue(limiting.get_rate_limit)
    rate_limit = on_queue(limiting.rate_limit)
    get_rate_limit_ttl = on_queue(limiting.get_rate_limit_ttl)
    remove_rate_limit_key = on_queue(limiting.remove_rate_limit_key)
    get_job_state = on_queue(listing.get_job_state)
    get_job_logs = on_queue(listing.get_job_logs)
    get_counts_per_priority = on_queue(listing.get_counts_per_priority)
    get_delayed_count = on_queue(listing.get_delayed_count)
    get_metrics = on_queue(inspecting.get_metrics)
    export_prometheus_metrics = on_queue(inspecting.export_prometheus_metrics)
    get_workers = on_queue(inspecting.get_workers)
    get_meta = on_queue(inspecting.get_meta)
    remove = on_queue(changing.remove)
    get_dependencies = on_queue(dependencies.get_dependencies)
    get_dependencies_count = on_queue(dependencies.get_dependencies_count)
    get_deduplication_job_id = on_queue(deduplicating.get_deduplication_job_id)
    remove_deduplication_key = on_queue(deduplicating.remove_deduplication_key)
    add_job_log = on_queue(changing.log)
    update_job_progress = on_queue(changing.update_progress)

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
        return Job.of(record, self._driver, self._base)


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
        self._base = self._producer.base
        self._server = server_name(url)
        self._driver = AsyncDriver(url)
        self._made = partial(AsyncJob, _driver=self._driver, _base=self._base)

    async def add(self, name: str, data: Any = None, **options: Unpack[AddOptions]) -> AsyncJob:
        """Add a job; see `Queue.add`."""
        return await self._driver.run(self._producer.add(name, data, options, self._made))

    async def add_bulk(self, jobs: Iterable[NewJob]) -> list[AsyncJob]:
        """Add many jobs in few round trips; see `Queue.add_bulk`."""
        return await self._driver.run(self._producer.add_bulk(jobs, self._made))

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

    async def get_jobs(
        self,
        states: str | Iterable[str] = STATES,
        start: int = 0,
        end: int = -1,
        *,
        ascending: bool = False,
    ) -> list[AsyncJob]:
        """The jobs of one or some states; see `Queue.get_jobs`."""
        program = listing.job_records(self._base, states, start, end, ascending=ascending)
        return [self._job(record) for record in await self._driver.run(program)]

    async def iter_jobs(
        self, states: str | Iterable[str] = STATES, *, ascending: bool = False, page: int = 100
    ) -> AsyncIterator[AsyncJob]:
        """All jobs of one or some states, for `async for`; see `Queue.iter_jobs`."""
        walk: listing.Walk | None = listing.Walk.over(states, page, ascending=ascending)
        while walk is not None:
            records, walk = await self._driver.run(listing.next_jobs(self._base, walk))
            for record in records:
                yield self._job(record)

    pause = on_async_queue(administering.pause)
    resume = on_async_queue(administering.resume)
    is_paused = on_async_queue(administering.is_paused)
    is_maxed = on_async_queue(administering.is_maxed)
    drain = on_async_queue(administering.drain)
    clean = on_async_queue(administering.clean)
    obliterate = on_async_queue(administering.obliterate)
    retry_jobs = on_async_queue(administering.retry_jobs)
    promote_jobs = on_async_queue(administering.promote_jobs)
    trim_events = on_async_queue(administering.trim_events)
    set_global_concurrency = on_async_queue(limiting.set_global_concurrency)
    get_global_concurrency = on_async_queue(limiting.get_global_concurrency)
    remove_global_concurrency = on_async_queue(limiting.remove_global_concurrency)
    set_global_rate_limit = on_async_queue(limiting.set_global_rate_limit)
    get_global_rate_limit = on_async_queue(limiting.get_global_rate_limit)
    remove_global_rate_limit = on_async_queue(limiting.remove_global_rate_limit)
    get_rate_limit = on_async_queue(limiting.get_rate_limit)
    rate_limit = on_async_queue(limiting.rate_limit)
    get_rate_limit_ttl = on_async_queue(limiting.get_rate_limit_ttl)
    remove_rate_limit_key = on_async_queue(limiting.remove_rate_limit_key)
    get_job_state = on_async_queue(listing.get_job_state)
    get_job_logs = on_async_queue(listing.get_job_logs)
    get_counts_per_priority = on_async_queue(listing.get_counts_per_priority)
    get_delayed_count = on_async_queue(listing.get_delayed_count)
    get_metrics = on_async_queue(inspecting.get_metrics)
    export_prometheus_metrics = on_async_queue(inspecting.export_prometheus_metrics)
    get_workers = on_async_queue(inspecting.get_workers)
    get_meta = on_async_queue(inspecting.get_meta)
    remove = on_async_queue(changing.remove)
    get_dependencies = on_async_queue(dependencies.get_dependencies)
    get_dependencies_count = on_async_queue(dependencies.get_dependencies_count)
    get_deduplication_job_id = on_async_queue(deduplicating.get_deduplication_job_id)
    remove_deduplication_key = on_async_queue(deduplicating.remove_deduplication_key)
    add_job_log = on_async_queue(changing.log)
    update_job_progress = on_async_queue(changing.update_progress)

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
        return AsyncJob.of(record, self._driver, self._base)
