"""One supervisor: its workers, its signals, its title, its exit code."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import setproctitle
import uvloop

from toril import events as ev
from toril.errors import (
    InvalidInput,
    ProcessorImportError,
    RedisRefused,
    RedisUnavailable,
    SandboxUnavailable,
)
from toril.sandbox import cgroup
from toril.sandbox.tree import become_supervisor, sweep_strangers
from toril.supervisor.dump import own_stacks
from toril.supervisor.listeners import DRAIN_S
from toril.supervisor.service.beat import Beat, QueueState
from toril.supervisor.service.notify import Notifier
from toril.supervisor.service.signals import listen
from toril.supervisor.worker import LAST_TRY_S, Worker

if TYPE_CHECKING:
    from toril.supervisor.health import Health
    from toril.supervisor.settings import Settings

SWEEP_S = 0.02
"""Longest round of a sweep on the loop; chosen: far below what a lock leaves."""

SWEEP_AGAIN_S = 0.2


class Supervisor:
    """Runs one worker per queue until a signal or an empty queue ends them."""

    def __init__(self, settings: Settings, emit: ev.Emit) -> None:
        self._workers = [
            Worker(queue, settings, emit, self._sweep_orphans) for queue in settings.queues
        ]
        self._emit = emit
        self._drain_s = settings.drain_timeout_ms / 1000
        self._grace_s = max(queue.limits.grace_s for queue in settings.queues)
        has_listeners = any(queue.listeners for queue in settings.queues)
        self._last_s = LAST_TRY_S + (DRAIN_S if has_listeners else 0)
        self._stop_by_s: float | None = None
        self._notifier = Notifier(os.environ)
        self._beat = Beat(
            self._notifier,
            states=lambda: [
                QueueState(w.queue.name, w.running, w.queue.concurrency, w.is_quiet)
                for w in self._workers
            ],
            health=self.health,
            stop_left_s=self._stop_left_s,
        )

    async def run(self) -> int:
        """Work; returns the exit code.

        Raises:
            RedisUnavailable: Redis cannot be reached at the start.
            SandboxUnavailable: no child can be set up at the start.
        """
        become_supervisor()
        cgroup.settle()
        # setproctitle writes over the environment block, in which a Redis URL may stand.
        setproctitle.setproctitle("toril: starting")
        loop = asyncio.get_running_loop()
        listen(loop, self)
        await self._open()
        self._notifier.ready()
        beat = asyncio.create_task(self._beat.run())
        try:
            ends = await asyncio.gather(
                *(self._work(worker) for worker in self._workers), return_exceptions=True
            )
        finally:
            beat.cancel()
            sweep_strangers(set())
            cgroup.leave()
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return os.EX_OK

    def _sweep_orphans(self) -> None:
        """End what dead zygotes left behind; this process adopts it, and starts nothing else.

        In short rounds, for this is the loop; and not while another zygote is being started, whose
        pid is not known yet.
        """
        pids = [pid for worker in self._workers for pid in worker.zygote_pids]
        is_starting = pids.count(None) > 1
        swept = 0 if is_starting else sweep_strangers({p for p in pids if p}, bound_s=SWEEP_S)
        if is_starting or swept:
            asyncio.get_running_loop().call_later(SWEEP_AGAIN_S, self._sweep_orphans)

    async def _open(self) -> None:
        """Open every worker, or none."""
        opened = []
        try:
            for worker in self._workers:
                await worker.open()
                opened.append(worker)
        except BaseException:
            for worker in opened:
                await worker.close()
            raise

    async def _work(self, worker: Worker) -> None:
        """Run one worker; if it does not end by a stop or an empty queue, the others stop too."""
        is_well = False
        try:
            await worker.run()
            is_well = True
        finally:
            if not is_well:
                for other in self._workers:
                    other.stop()

    # -- what signals ask for

    def on_quiet(self) -> None:
        """Claim nothing more and stay."""
        for worker in self._workers:
            worker.quiet()

    def on_resume(self) -> None:
        """Claim again."""
        for worker in self._workers:
            worker.resume()

    def on_dump(self) -> None:
        """Tell the log where everything stands."""
        for worker in self._workers:
            worker.dump(self._beat.turned_s)
        self._emit(ev.StackDumped("", "", os.getpid(), own_stacks()))

    def on_stop(self) -> None:
        """End: drain the first time, at once the second time."""
        is_first = self._stop_by_s is None
        for worker in self._workers:
            if is_first:
                worker.stop()
            else:
                worker.stop_now()
        if is_first:
            self._notifier.stopping()
            now_s = asyncio.get_running_loop().time()
            self._stop_by_s = now_s + self._drain_s + self._grace_s + self._last_s

    def _stop_left_s(self) -> float | None:
        if self._stop_by_s is None:
            return None
        return self._stop_by_s - asyncio.get_running_loop().time()

    def health(self) -> dict[str, Health]:
        """Queue name → whether it is consumed; what every probe asks."""
        return {w.queue.name: w.health(self._beat.turned_s) for w in self._workers}


def supervise(settings: Settings, emit: ev.Emit) -> tuple[int, str]:
    """Run a supervisor to its end: (sysexits code, what went wrong or an empty text)."""
    try:
        return uvloop.run(Supervisor(settings, emit).run()), ""
    except ProcessorImportError as error:
        return os.EX_CONFIG, f"{error}\n{error.traceback}".rstrip()
    except (SandboxUnavailable, InvalidInput) as error:
        return os.EX_CONFIG, str(error)
    except (RedisUnavailable, RedisRefused) as error:
        return os.EX_UNAVAILABLE, str(error)
