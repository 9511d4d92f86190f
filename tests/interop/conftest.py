"""Fixtures of the interop tests: BullMQ in Node, toril's queue on the same name."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.interop.node import NodeDriver, require_node
from tests.support.toril import TorilRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import RedisServer

PROCESSORS = "tests.interop.processors:processors"
"""The processors of toril's children, the same by name as those of the Node workers."""

BOTH_MAJORS = pytest.mark.parametrize("node", [6, 5], indirect=True, ids=["v6", "v5"])
"""Runs a test that uses `node` against BullMQ 6 and against 5."""

SIX_AND_SLOWLY_FIVE = [
    pytest.param(6, id="v6"),
    pytest.param(5, id="v5", marks=pytest.mark.slow),
]
"""Parameters for 6, and for 5 in the full suite only."""

BOTH_MAJORS_IN_FULL = pytest.mark.parametrize("node", SIX_AND_SLOWLY_FIVE, indirect=True)
"""As `BOTH_MAJORS`, against 5 in the full suite only: for tests that wait."""


@pytest.fixture(scope="session")
def node_drivers() -> Iterator[Callable[[str, int], NodeDriver]]:
    """(server's socket, BullMQ's major) → the session's Node process, started when first asked."""
    require_node()
    with ExitStack() as stack:
        running: dict[tuple[str, int], NodeDriver] = {}

        def driver_of(socket_path: str, major: int) -> NodeDriver:
            key = (socket_path, major)
            if key not in running:
                running[key] = stack.enter_context(NodeDriver(socket_path, major))
            return running[key]

        yield driver_of


@pytest.fixture
def node(
    node_drivers: Callable[[str, int], NodeDriver],
    redis_server: RedisServer,
    request: pytest.FixtureRequest,
) -> Iterator[NodeDriver]:
    """BullMQ 6 (see `BOTH_MAJORS`) on the test's empty database.

    Everything a test opened is closed after it.
    """
    driver = node_drivers(redis_server.socket_path, getattr(request, "param", 6))
    yield driver
    driver.call("reset")


@pytest.fixture
def queue_name() -> str:
    """A queue name no other test uses."""
    return f"q-{uuid4().hex[:8]}"


@pytest.fixture
def toril_run(queue_name: str, redis_url: str) -> Iterator[Callable[..., TorilRun]]:
    """A factory: `toril_run("--concurrency", "2", …)` → `toril run` on the test's queue.

    It ends with the test; what it logged is shown when the test fails.
    """
    with ExitStack() as stack:
        started: list[TorilRun] = []

        def start(*flags: str) -> TorilRun:
            run = TorilRun(queue_name, PROCESSORS, redis_url, *flags)
            started.append(stack.enter_context(run))
            return run

        yield start
    for run in started:
        sys.stdout.write(f"--- toril run, status {run.process.returncode}\n")
        sys.stdout.write("\n".join([*run.lines, ""]))
