"""One supervisor: its workers, its signals, its title, its exit code."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
from typing import TYPE_CHECKING

import setproctitle
import uvloop

from toril import events as ev
from toril import lifecycle
from toril.errors import (
    InvalidInput,
    ProcessorImportError,
    RedisRefused,
    RedisUnavailable,
    SandboxUnavailable,
)
from toril.sandbox import cgroup
from toril.sandbox.tree import become_supervisor, sweep_strangers
from toril.sandbox.work_roots import sweep_beside
from toril.supervisor.dump import own_stacks
from toril.supervisor.listeners import DRAIN_S
from toril.supervisor.reloading import Reloader
from toril.supervisor.service.beat import Beat, QueueState
from toril.supervisor.service.notify import Notifier
from toril.supervisor.service.signals import listen
from toril.supervisor.service.watch import Watch
from toril.supervisor.stage import LAST_TRY_S
from toril.supervisor.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.supervisor.health import Health
    from toril.supervisor.settings import Settings

SWEEP_S = 0.02
"""Longest round of a sweep on the loop; chosen: far below what a lock leaves."""

SWEEP_AGAIN_S = 0.2


_NEW_OBJECTS = 10_000
"""Containers that are made before the garbage collector looks for circles among them; chosen: what
an outage leaves behind is small beside a child, and 700 are made by a few dozen jobs."""


class Supervisor:
    """Runs one worker per queue until a signal or an empty queue ends them.

    Args:
        settings: what it is told.
        emit: the log.
        reload: reads the settings anew, in a thread; None: SIGHUP brings new code only.
    """

    def __init__(
        self, settings: Settings, emit: ev.Emit, reload: Callable[[], Settings] | None = None
    ) -> None:
        self._is_open = False
        self._watch = Watch(
            settings, sights=lambda: [w.sight() for w in self._workers], health=self.health
        )
        emit = self._watch.overhear(emit)
        self._workers = [
            Worker(queue, settings, emit, self._sweep_orphans) for queue in settings.queues
        ]
        self._emit = emit
        has_listeners = any(queue.listeners for queue in settings.queues)
        self._last_s = LAST_TRY_S + (DRAIN_S if has_listeners else 0)
        self._stop_by_s: float | None = None
        self._notifier = Notifier(os.environ)
        self._reloader = Reloader(settings, self._workers, reload, self._notifier, emit)
        self._beat = Beat(
            self._notifier,
            states=lambda: [
                QueueState(w.queue.name, w.running, w.size, w.is_quiet) for w in self._workers
            ],
            health=self.health,
            stop_left_s=self._stop_left_s,
        )

    async def run(self) -> int:
        """Work; returns the exit code.

        Raises:
            RedisUnavailable: Redis cannot be reached at the start.
            SandboxUnavailable: no child can be set up at the start.
            InvalidOption: the health address cannot be listened on.
        """
        try:
            return await self._run()
        finally:
            await self._watch.close()

    async def _run(self) -> int:
        become_supervisor()
        sweep_beside()
        cgroup.settle()
        # setproctitle writes over the environment block, in which a Redis URL may stand.
        setproctitle.setproctitle("toril: starting")
        loop = asyncio.get_running_loop()
        listen(loop, self)
        await self._watch.open()
        await self._open()
        self._beat.turned_s = loop.time()
        self._is_open = True
        self._watch.started()
        _spare_the_collector()
        self._notifier.ready()
        beat = asyncio.create_task(self._beat.run())
        try:
            ends = await asyncio.gather(
                *(self._work(worker) for worker in self._workers), return_exceptions=True
            )
        finally:
            beat.cancel()
            await self._reloader.close()
            sweep_strangers(set())
            cgroup.leave()
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return os.EX_OK

    def _sweep_orphans(self) -> None:
        """End what dead zygotes left behind; this process adopts it, and starts nothing else.

        In short rounds, for this is the loop. A zygote is known from the moment it exists.
        """
        ours = set().union(*(worker.zygote_pids for worker in self._workers))
        if sweep_strangers(ours, bound_s=SWEEP_S):
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

    def on_reload(self) -> None:
        """Read configuration and code anew."""
        if self._is_open and self._stop_by_s is None:
            self._reloader.ask()
        else:
            when = "starts, with what is there now" if self._stop_by_s is None else "stops"
            self._emit(lifecycle.ReloadFailed(f"the supervisor {when}"))

    def on_quiet(self) -> None:
        """Claim nothing more and stay."""
        for worker in self._workers:
            worker.quiet()
        self._watch.changed()

    def on_resume(self) -> None:
        """Claim again."""
        for worker in self._workers:
            worker.resume()
        self._watch.changed()

    def on_dump(self) -> None:
        """Tell the log where everything stands."""
        for worker in self._workers:
            worker.dump(self._beat.turned_s)
        self._emit(lifecycle.StackDumped("", "", os.getpid(), own_stacks()))

    def on_stop(self) -> None:
        """End: drain the first time, at once the second time."""
        is_first = self._stop_by_s is None
        for worker in self._workers:
            if is_first:
                worker.stop()
            else:
                worker.stop_now()
        if is_first:
            self._reloader.leave()
            self._notifier.stopping()
            settings = self._reloader.settings
            grace_s = max(queue.limits.grace_s for queue in settings.queues)
            self._watch.stopping()
            now_s = asyncio.get_running_loop().time()
            drain_s = settings.drain_timeout_ms / 1000
            self._stop_by_s = now_s + drain_s + grace_s + self._last_s

    def _stop_left_s(self) -> float | None:
        if self._stop_by_s is None:
            return None
        return self._stop_by_s - asyncio.get_running_loop().time()

    def health(self) -> dict[str, Health]:
        """Queue name → whether it is consumed; what every probe asks."""
        return {w.queue.name: w.health(self._beat.turned_s) for w in self._workers}


def _spare_the_collector() -> None:
    """Nearly all that is there now stays to the end; what jobs leave behind is freed without it.

    Looking at all of it again and again took a twelfth of a short job's time, and to look at it
    once now would hold the loop for 30 ms. What goes earlier all the same, a first child or the
    settings before a reload, is never freed if it is in a circle.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


def supervise(
    settings: Settings, emit: ev.Emit, reload: Callable[[], Settings] | None = None
) -> tuple[int, str]:
    """Run a supervisor to its end: (sysexits code, what went wrong or an empty text)."""
    # A service manager ends a loop that stands with SIGABRT: its log then has the line.
    faulthandler.enable()
    try:
        return uvloop.run(Supervisor(settings, emit, reload).run()), ""
    except ProcessorImportError as error:
        return os.EX_CONFIG, f"{error}\n{error.traceback}".rstrip()
    except (SandboxUnavailable, InvalidInput) as error:
        return os.EX_CONFIG, str(error)
    except (RedisUnavailable, RedisRefused) as error:
        return os.EX_UNAVAILABLE, str(error)
