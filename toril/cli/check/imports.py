"""Imports what a queue's processors, back-off strategies and listeners are, as a worker would.

In a zygote and one child at the queue's own level, which are thrown away: what is wrong here would
be wrong at the start of a worker.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import uvloop

from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.supervisor.calls import listeners_spec, zygote_spec
from toril.supervisor.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.sandbox.launcher import ZygoteSpec
    from toril.sandbox.listener import ChildExit
    from toril.supervisor.settings import QueueSettings

LONGEST_S = 90.0
"""For one queue; chosen: a zygote's own time for its import is a minute."""


class _Trial:
    """Hears whether a child came up; everything else does not matter."""

    def __init__(self) -> None:
        self.is_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_ready(self) -> None:
        """It did."""
        if not self.is_up.done():
            self.is_up.set_result(None)

    def on_unavailable(self, error: SandboxUnavailable) -> None:
        """It cannot."""
        if not self.is_up.done():
            self.is_up.set_exception(error)

    def on_death(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """It died on the way."""
        self.on_unavailable(SandboxUnavailable(f"a child died: {exit.message}", exit.remedy))

    def _pass_over(self, *_: Any) -> None:
        """Nothing of interest."""

    on_outcome = on_progress = on_log = on_record = on_update_data = on_stack = on_call = _pass_over
    on_checkpoint = on_orphans = on_available = on_next = on_recalled = _pass_over


def what_fails(queues: Sequence[QueueSettings]) -> dict[tuple[str, str], SandboxUnavailable | None]:
    """Queue and what is imported there → why it cannot be, or None."""
    wanted = [(queue.name, "processor", zygote_spec(queue)) for queue in queues]
    wanted += [(one.name, "listeners", listeners_spec(one)) for one in queues if one.listeners]
    return uvloop.run(_tried_all(wanted))


async def _tried_all(
    wanted: Sequence[tuple[str, str, ZygoteSpec]],
) -> dict[tuple[str, str], SandboxUnavailable | None]:
    return {(queue, what): await _tried(spec) for queue, what, spec in wanted}


async def _tried(spec: ZygoteSpec) -> SandboxUnavailable | None:
    trial = _Trial()
    pool = Pool(spec, 1, trial)
    try:
        await pool.open()
        async with asyncio.timeout(LONGEST_S):
            await trial.is_up
    except TimeoutError:
        return SandboxUnavailable(f"no child came up within {LONGEST_S:.0f} s")
    except SandboxUnavailable as error:
        return error
    finally:
        await pool.close()
    return None


def words_of(error: SandboxUnavailable) -> str:
    """Why, with the traceback of an import."""
    traceback = error.traceback if isinstance(error, ProcessorImportError) else ""
    return f"{error.reason}\n{traceback}".rstrip()
