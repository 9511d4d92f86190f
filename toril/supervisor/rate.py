"""The rate limit that a queue's settings name, and the one in Redis, which applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril import events as ev

if TYPE_CHECKING:
    from toril.runtime.store import Store
    from toril.supervisor.settings import QueueSettings


async def offer(queue: QueueSettings, store: Store, emit: ev.Emit) -> None:
    """Have Redis take the settings' limit where it has none or a lower revision; else tell.

    Raises:
        RedisUnavailable: not now.
    """
    configured = queue.rate_limit
    in_force = await store.configure_limit(configured)
    if configured is None or in_force == configured:
        return
    there = "none" if in_force is None else f"{in_force.words} (revision {in_force.revision})"
    wanted = f"{configured.words} (revision {configured.revision})"
    emit(ev.LimitDiffers(queue.name, wanted, there))
