"""toril runs what Node added and leaves what a Node worker would have left, field by field.

Both workers run the same jobs once, one after the other on one server; every test compares one
job, or one aspect of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import PROCESSORS, SIX_AND_SLOWLY_FIVE
from tests.interop.node import NodeDriver, require_node
from tests.interop.scenarios import SCENARIOS, Left, add_all, left_by
from tests.support.servers import RedisServer
from tests.support.toril import TorilRun

if TYPE_CHECKING:
    import redis


@pytest.fixture(scope="module", params=SIX_AND_SLOWLY_FIVE)
def both(request: pytest.FixtureRequest) -> tuple[Left, Left]:
    """What Node's worker left, and what toril left, on a server that knows no script yet."""
    require_node()
    with (
        RedisServer() as server,
        NodeDriver(server.socket_path, request.param) as node,
        server.connect() as client,
    ):
        return _run_by_node(node, client), _run_by_toril(node, client, server.url)


def _run_by_node(node: NodeDriver, client: redis.Redis) -> Left:
    add_all(node, "by-node")
    node.call("startWorker", queue="by-node", options={"concurrency": 1})
    return left_by(node, client, "by-node")


def _run_by_toril(node: NodeDriver, client: redis.Redis, url: str) -> Left:
    add_all(node, "by-toril")
    with TorilRun("by-toril", PROCESSORS, url, "--concurrency", "1", "--until-empty") as run:
        assert run.exit_code() == 0, "\n".join(run.lines)
    return left_by(node, client, "by-toril")


@pytest.mark.entries(7, 8, 11, 13, 14, 15, 16, 18, 19)
@pytest.mark.parametrize("job", SCENARIOS)
def test_job_hash_and_sub_keys_are_nodes(job: str, both: tuple[Left, Left]):
    by_node, by_toril = both

    assert by_toril.keys[job] == by_node.keys[job]


@pytest.mark.entries(7, 8, 11, 13, 14, 15, 16, 18, 19)
@pytest.mark.parametrize("job", SCENARIOS)
def test_nodes_getters_show_the_same_job(job: str, both: tuple[Left, Left]):
    by_node, by_toril = both

    assert by_toril.seen[job] == by_node.seen[job]


@pytest.mark.entries(14, 18, 71)
@pytest.mark.parametrize("job", SCENARIOS)
def test_events_are_nodes_in_order_and_fields(job: str, both: tuple[Left, Left]):
    by_node, by_toril = both

    assert by_toril.events[job] == by_node.events[job]
    assert by_toril.heard[job] == by_node.heard[job]
    assert by_toril.events[job] != []


def test_queue_events_consumer_saw_no_error(both: tuple[Left, Left]):
    """An entry that is not JSON would stop every listening Node process for good."""
    _by_node, by_toril = both

    assert by_toril.errors == []


def test_queue_is_left_as_node_leaves_it(both: tuple[Left, Left]):
    """No lock, no id in `active` or `stalled`, the same members in `completed` and `failed`."""
    by_node, by_toril = (
        {
            name: set(said[1]) if name in {"completed", "failed"} else said
            for name, said in one.items()
        }
        for one in (both[0].lists, both[1].lists)
    )
    for one in (by_node, by_toril):
        for passing in ("stalled-check", "marker"):
            one.pop(passing, None)

    assert by_toril == by_node
