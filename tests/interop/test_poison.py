"""Nothing that toril writes stops a Node `QueueEvents`, whatever processors and callers say.

One `completed` entry whose value is no JSON, or one `progress` entry whose data is none, would
stop every listening Node process for good. The number in names is the interop checklist's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.waiting import until
from toril import CompletedEvent, InvalidInput, ProgressEvent, Queue, QueueEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

ODD_VALUES = [
    *("None", "True", "0", "-0.0", "10**400", "-(10**30)", "1e308", "1e-320", "0.1 + 0.2"),
    *("float('nan')", "float('inf')", "[float('-inf')]", "{'a': float('nan')}"),
    *("''", "'\\u2028\\u2029'", "'\\x00\\x01\\x1f'", "'\\ud800'", "'\\\\ud800'", "'\\ufeff'"),
    *("b'bytes'", "{1: 2}", "{'a': {2}}", "{None: 1}", "(1, 2)", "set()", "object()", "print"),
    *("'x' * 100_000", "[[]] * 1000", "'\"}\\n{'", "'</script>'", "{'': ''}", "1j", "..."),
    "__import__('functools').reduce(lambda inner, _: [inner], range(400), 0)",
    "__import__('functools').reduce(lambda inner, _: [inner], range(100_000), 0)",
    "__import__('decimal').Decimal('1.5')",
    "__import__('datetime').datetime(2026, 1, 1)",
    "(lambda a: a.append(a) or a)([])",
    "type('S', (str,), {})('text')",
    "type('I', (int,), {'__repr__': lambda self: 'nonsense'})(5)",
    "type('D', (dict,), {'items': lambda self: [('a', 'b')]})(c=1)",
    "__import__('enum').IntEnum('E', 'ONE')(1)",
]
"""Python expressions; a processor reports the value as progress, then returns it."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def _heard(node: NodeDriver, queue: Queue, of: str) -> dict[str, Any]:
    """What a consumer has heard, once a last entry has come through; it hangs if it was stopped."""
    node.call("listen", queue=queue.name)
    heard = node.call("heard", queue=queue.name, of=of)
    assert heard["errors"] == []
    return heard


def test_72_consumer_survives_odd_results_and_progress(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun], redis_url: str
):
    for value in ODD_VALUES:
        queue.add("odd", {"value": value})

    assert toril_run("--until-empty", "--concurrency", "2").exit_code() == 0

    seen = _heard(node, queue, "drained")["seen"]
    ended = [event for event in seen if event["event"] in {"completed", "failed"}]
    assert len(ended) == len(ODD_VALUES)
    assert len([event for event in ended if event["event"] == "completed"]) > len(ODD_VALUES) / 3
    with QueueEvents(queue.name, redis=redis_url, last_event_id="0-0") as events:
        ours = [next(events) for _ in range(len(seen))]
    assert {event.job_id for event in ours if isinstance(event, CompletedEvent)} == {
        event["jobId"] for event in ended if event["event"] == "completed"
    }
    assert any(isinstance(event, ProgressEvent) for event in ours)


def test_72_consumer_survives_what_callers_report(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    job = queue.add("a")

    @settings(
        max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(JSON)
    def report(value: Any) -> None:
        try:
            job.update_progress(value)
        except InvalidInput:
            return
        ((_, fields),) = redis_client.xrevrange(f"bull:{queue.name}:events", count=1)
        assert json.loads(fields[b"data"]) == value

    report()
    job.remove()

    assert _heard(node, queue, "removed")["errors"] == []


def test_72_the_consumer_would_tell(node: NodeDriver, queue: Queue, redis_client: redis.Redis):
    """The control: one entry that is no JSON is noticed."""
    node.call("listen", queue=queue.name)
    redis_client.xadd(f"bull:{queue.name}:events", {"event": "completed", "jobId": "1"})

    assert until(lambda: node.call("heard", queue=queue.name)["errors"])
