"""New configuration and code under a supervisor that works: all of it, or nothing.

Everything new is tried out first (`rehearsal.py`), beside everything old; only when every queue's
first child is ready does any of them change. A change must keep: whatever goes wrong before that
leaves no trace but a line in the log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from toril import events as ev
from toril import lifecycle
from toril.errors import ProcessorImportError, SandboxUnavailable, TorilError
from toril.supervisor.config.problems import settings_of_fields
from toril.supervisor.config.schema import ConfigTable, QueueTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from toril.supervisor.attempts import Attempts
    from toril.supervisor.config.toml_file import Keys
    from toril.supervisor.listeners import Listeners
    from toril.supervisor.rehearsal import Rehearsal
    from toril.supervisor.service.notify import Notifier
    from toril.supervisor.settings import QueueSettings, Settings
    from toril.supervisor.worker import Worker

_FIXED = frozenset({"redis", "prefix", "until_empty", "worker_name", "health_listen", "log"})
"""Settings that hold until a restart: where and as whom it works, and where it is heard."""

_FIXED_IN_QUEUE = frozenset({"lock_ms", "renew_every_s", "poll_ms"})
"""Likewise of a queue: locks that are held now run by them."""

_TOP = {name: keys for name, keys in settings_of_fields(ConfigTable) if keys[0] != "queues"}
_IN_QUEUE = dict(settings_of_fields(QueueTable)) | {"min_concurrency": ("concurrency",)}
"""Field → its setting, as a file names it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new configuration means for a supervisor that works.

    Attributes:
        settings: what it goes on with: the new, but for what needs a restart.
        applied: names of settings that change now.
        waiting: names of settings that change with the next restart.
    """

    settings: Settings
    applied: tuple[str, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """New settings of a queue, and what was tried out with them: its jobs, then its listeners."""

    queue: QueueSettings
    rehearsals: tuple[Rehearsal, ...]

    @property
    def is_ready(self) -> bool:
        """Is everything still alive that was tried out?"""
        return all(one.is_ready for one in self.rehearsals)

    async def drop(self) -> None:
        """Nothing comes of it."""
        await asyncio.gather(*(one.drop() for one in self.rehearsals))


async def rehearse(
    queue: QueueSettings, attempts: Attempts, listeners: Listeners | None
) -> Rehearsed:
    """Try out a queue's new settings and code, beside what works by the old.

    Raises:
        ProcessorImportError, SandboxUnavailable: they cannot be used; nothing is left of it.
    """
    jobs = await attempts.rehearse(queue)
    if listeners is None:
        return Rehearsed(queue, (jobs,))
    try:
        return Rehearsed(queue, (jobs, await listeners.rehearse(queue)))
    except BaseException:
        await jobs.drop()
        raise


def changes(old: Settings, new: Settings) -> Changes:
    """What can be changed without a restart, and what cannot; names only, for some are secret."""
    kept = {name: getattr(old, name) for name in _FIXED}
    differing = [name for name in _differing(old, new) if name != "queues"]
    waiting = [_setting(name, _TOP) for name in differing if name.partition(".")[0] in _FIXED]
    applied = [_setting(name, _TOP) for name in differing if name.partition(".")[0] not in _FIXED]
    found = {queue.name: queue for queue in new.queues}
    queues = []
    for queue in old.queues:
        if queue.name not in found:
            waiting.append(f"queues.{queue.name} (removed)")
            queues.append(queue)
            continue
        fixed = _fixed_in(queue, found[queue.name])
        after = replace(found.pop(queue.name), **{name: getattr(queue, name) for name in fixed})
        waiting += [_in_queue(queue.name, name) for name in fixed]
        applied += dict.fromkeys(_in_queue(queue.name, name) for name in _differing(queue, after))
        queues.append(after)
    waiting += [f"queues.{name} (new)" for name in found]
    return Changes(replace(new, queues=tuple(queues), **kept), tuple(applied), tuple(waiting))


def _in_queue(queue: str, name: str) -> str:
    return f"queues.{queue}.{_setting(name, _IN_QUEUE, name.rpartition('.')[2])}"


def _setting(name: str, known: Mapping[str, Keys], last: str = "") -> str:
    """A field in the words of whoever wrote the file; one that no file has keeps its own."""
    keys = known.get(last or name)
    return ".".join(keys) if keys else name


def _fixed_in(old: QueueSettings, new: QueueSettings) -> list[str]:
    """Settings of a queue that differ and need a restart."""
    names = [name for name in sorted(_FIXED_IN_QUEUE) if getattr(old, name) != getattr(new, name)]
    if (old.listeners is None) is not (new.listeners is None):
        names.append("listeners")
    return names


def _differing(old: Any, new: Any) -> list[str]:
    """Names of the fields that differ; of fields with fields of their own, those."""
    names = []
    for field in fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        if is_dataclass(before) and type(before) is type(after):
            names += [f"{field.name}.{name}" for name in _differing(before, after)]
        else:
            names.append(field.name)
    return names


class Reloader:
    """Reloads when asked; one reload at a time, and one more if asked meanwhile.

    Args:
        settings: what it works by now.
        workers: one for each queue.
        read: gives the new settings; None: there is nothing to read, only code is new.
        notifier: the service manager.
        emit: the log.

    Attributes:
        settings: what it works by now.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Sequence[Worker],
        read: Callable[[], Settings] | None,
        notifier: Notifier,
        emit: ev.Emit,
    ) -> None:
        self.settings = settings
        self._workers = workers
        self._read = read
        self._notifier = notifier
        self._emit = emit
        self._task: asyncio.Task[None] | None = None
        self._is_asked = False

    def ask(self) -> None:
        """Reload, now or when the reload under way has ended."""
        self._is_asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="reload")

    def leave(self) -> None:
        """Give up a reload under way: the supervisor stops."""
        self._is_asked = False
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """The same; what was tried out has ended when this returns."""
        self.leave()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._is_asked:
            self._is_asked = False
            self._notifier.reloading()
            self._emit(lifecycle.Reloading())
            try:
                found = await self._reload()
                self._emit(lifecycle.Reloaded(found.applied, found.waiting))
            except Exception as error:  # noqa: BLE001 - a wall: nothing new may end the old
                self._emit(lifecycle.ReloadFailed(_reason(error), _trace(error)))
            finally:
                self._notifier.ready()

    async def _reload(self) -> Changes:
        # Files are read in a thread: a slow disk must not keep the loop from renewing locks.
        new = self.settings if self._read is None else await asyncio.to_thread(self._read)
        found = changes(self.settings, new)
        rehearsed: list[Rehearsed] = []
        try:
            for worker, queue in zip(self._workers, found.settings.queues, strict=True):
                rehearsed.append(await worker.rehearse(queue))
            _check(rehearsed)
        except BaseException:
            await asyncio.gather(*(one.drop() for one in rehearsed))
            raise
        for worker, one in zip(self._workers, rehearsed, strict=True):
            worker.adopt(one, found.settings)
        self.settings = found.settings
        await self._settle_limits()
        return found

    async def _settle_limits(self) -> None:
        for worker in self._workers:
            try:
                await worker.settle_limit()
            except TorilError as error:  # All else has changed by now.
                self._emit(ev.RedisFailed(worker.queue.name, "setting the rate limit", str(error)))


def _check(rehearsed: Sequence[Rehearsed]) -> None:
    if not all(one.is_ready for one in rehearsed):
        raise SandboxUnavailable("a new child died before all of them were ready")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TorilError) else f"{type(error).__name__}: {error}"


def _trace(error: Exception) -> str:
    return error.traceback if isinstance(error, ProcessorImportError) else ""
