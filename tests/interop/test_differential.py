"""The same drawn sequence through BullMQ and through toril leaves the same in Redis, step by step.

A run is made of its seed, which is printed; `TORIL_DIFFERENTIAL_SEED=n` repeats it. What fails is
told as the smallest sequence that does, with what differs.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Verbosity, given, seed, settings

from tests.interop.differential.accepted import ACCEPTED
from tests.interop.differential.drawing import WISHES
from tests.interop.differential.keyspace import Look, differences
from tests.interop.differential.run import Diverged, Run, Stage
from tests.interop.differential.sides import NodeSide, TorilSide
from tests.interop.differential.steps import Wish
from tests.interop.node import NodeDriver, require_node
from tests.support.servers import RedisServer
from tests.support.toril import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

CI_SEED = 404
"""What continuous integration runs: it judges a change, and not the luck of a seed."""

PAUSED = [Wish("add", args={"jobs": [{"data": 1, "opts": {}, "ties": {}}]}), Wish("pause")]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Node on one server, toril on another: Valkey, where a small set has the order it was made in.

    Redis 7.0 gives each process another, by which a removal walks through children.
    """
    require_node()
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer("valkey")) for _ in range(2)]
        clients = [stack.enter_context(server.connect()) for server in servers]
        nodes = [stack.enter_context(NodeDriver(server.socket_path)) for server in servers]
        toril = TorilSide(servers[1].url)
        stack.callback(toril.close)
        yield Stage(*clients, *map(NodeSide, nodes), toril)


def chosen_seed() -> int:
    """From the environment, else a new one; always the same in continuous integration."""
    if given_seed := os.environ.get("TORIL_DIFFERENTIAL_SEED"):
        return int(given_seed)
    return CI_SEED if os.environ.get("CI") else secrets.randbelow(1_000_000)


def prove(stage: Stage, of: int, sequences: int) -> None:
    """Play so many sequences; the seed decides which."""
    steps = 0

    @seed(of)
    @settings(
        max_examples=sequences,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(WISHES)
    def same_after_every_step(wishes: list[Wish]) -> None:
        nonlocal steps
        run = Run(stage)
        run.play(wishes)
        steps += len(run.done)

    sys.stdout.write(f"\nTORIL_DIFFERENTIAL_SEED={of}\n")
    same_after_every_step()
    sys.stdout.write(f"{sequences} sequences, {steps} steps\n")


@pytest.mark.timeout(600)
def test_same_keyspace_after_every_step(stage: Stage):
    prove(stage, chosen_seed(), 40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_same_keyspace_after_tens_of_thousands_of_steps(stage: Stage):
    prove(stage, chosen_seed(), 1500)


@pytest.mark.parametrize(
    ("command", "differs"),
    [
        (("HSET", "bull:q:1", "name", "other"), "bull:q:1"),
        (("HSET", "bull:q:1", "data", '{"n":2}'), "bull:q:1"),
        (("HDEL", "bull:q:1", "priority"), "bull:q:1"),
        (("LPUSH", "bull:q:wait", "1"), "bull:q:wait"),
        (("ZADD", "bull:q:marker", 0, "0"), "bull:q:marker"),
        (("HSET", "bull:q:meta", "concurrency", 1), "bull:q:meta"),
        (("XADD", "bull:q:events", "*", "event", "resumed"), "bull:q:events"),
        (("EXPIRE", "bull:q:id", 600), "bull:q:id"),
        (("SADD", "bull:q:stalled", "1"), "bull:q:stalled"),
        (("HSET", "bull:q:1", "t:verdict", "raised"), None),
        (("HSET", "bull:q:1", "data", "  1"), None),
        (("SET", "bull:q:toril:hold", 1), None),
        (("HSET", "bull:q:meta", "version", "other:1"), None),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else value or "nothing",
)
def test_comparer_sees_what_matters(
    stage: Stage, command: tuple[str | int, ...], differs: str | None
):
    Run(stage).play(PAUSED)
    stage.toril_client.execute_command(*command)

    found = differences(Look(stage.node_client).read(), Look(stage.toril_client).read())

    assert [line for line in found if not line.startswith(" ")] == [differs][: differs is not None]


def test_accepted_difference_is_a_row_of_a_table():
    """Where users and maintainers read its reason."""
    told = [ROOT / "docs" / "bullmq.md", ROOT / "toril" / "runtime" / "lua" / "README.md"]
    rows = [line for path in told for line in path.read_text().splitlines()]

    for one in ACCEPTED:
        assert any(row.startswith(f"| {one.row} |") for row in rows), one.row


@pytest.fixture
def careless(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toril that leaves a wake-up signal behind when a queue is paused."""
    whole = TorilSide._on_queue

    def on_queue(self: TorilSide, base: str, queue: str, method: str, args: list[object]) -> str:
        answer = whole(self, base, queue, method, args)
        if method == "pause":
            stage.toril_client.zadd(f"{base}marker", {"0": 0})
        return answer

    monkeypatch.setattr(TorilSide, "_on_queue", on_queue)


@pytest.mark.usefixtures("careless")
def test_what_differs_is_told_with_its_steps(stage: Stage):
    with pytest.raises(Diverged) as told:
        Run(stage).play(PAUSED)

    assert str(told.value).splitlines() == [
        "the steps:",
        "  q: add({'name': 'work', 'data': 1, 'opts': {}}) -> ['1']",
        "  q: pause()",
        "what differs:",
        "  bull:q:marker",
        "      node   (no such key)",
        "      toril  Entry(kind='zset', value={'0': 0.0}, ttl_minutes=None)",
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("careless")
def test_what_differs_is_told_as_the_smallest_sequence(stage: Stage):
    with pytest.raises(Diverged) as told:
        prove(stage, CI_SEED, 200)

    steps, found = str(told.value).split("what differs:\n")
    assert len(steps.splitlines()) == 2
    assert steps.splitlines()[-1].endswith(": pause()")
    assert found.splitlines()[0].endswith(":marker")
