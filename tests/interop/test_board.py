"""Bull Board on a queue that toril filled and worked; the number is the interop checklist's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.required import skip_or_fail
from toril import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

_HERE = Path(__file__).parent


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


@pytest.fixture
def board(node: NodeDriver, queue: Queue) -> Callable[..., Any]:
    """Bull Board's API on the test's queue: `board("put", "/:jobId/retry", jobId="1")`."""
    if not (_HERE / "node_modules" / "@bull-board" / "api").is_dir():
        skip_or_fail("interop", "@bull-board/api is not installed: cd tests/interop && npm ci")

    def request(method: str, route: str, *, query: dict[str, Any] | None = None, **params: Any):
        path = f"/api/queues/:queueName{route}" if route else "/api/queues"
        answer = node.call(
            "board",
            queue=queue.name,
            verb=method,
            route=path,
            params=params,
            query=query or {},
        )
        assert answer["status"] < 400, answer
        return answer["body"]

    return request


def test_73_bull_board_shows_and_changes_what_toril_made_and_worked(
    board: Callable[..., Any], queue: Queue, toril_run: Callable[..., TorilRun], node: NodeDriver
):
    done, logged = queue.add("echo", {"é": ["ü", 1]}), queue.add("log")
    broken = queue.add("fail", {"message": "bœm"}, attempts=2)
    last = queue.add("progress", {"progress": {"half": 0.5}})
    assert toril_run("--until-empty").exit_code() == 0
    waits, urgent = queue.add("echo"), queue.add("echo", priority=3)
    later = queue.add("echo", delay="1h")

    assert _listed(board, queue) == {
        "waiting": [waits.id],
        "prioritized": [urgent.id],
        "delayed": [later.id],
        "completed": [last.id, logged.id, done.id],
        "failed": [broken.id],
        "active": [],
    }

    page = board("get", "/:jobId", jobId=done.id)
    assert (page["status"], page["job"]["data"], page["job"]["returnValue"]) == (
        "completed",
        {"é": ["ü", 1]},
        {"é": ["ü", 1]},
    )
    failure = board("get", "/:jobId", jobId=broken.id)["job"]
    assert (failure["failedReason"], failure["attempts"]) == ("bœm", 2)
    assert "RuntimeError" in failure["stacktrace"][0]
    assert board("get", "/:jobId", jobId=last.id)["job"]["progress"] == {"half": 0.5}
    assert board("get", "/:jobId/logs", jobId=logged.id) == [f"row {row}" for row in range(1, 6)]

    board("put", "/:jobId/promote", jobId=later.id)
    board("put", "/:jobId/retry", jobId=broken.id)
    assert (later.state(), broken.state()) == ("waiting", "waiting")
    board("put", "/:jobId/clean", jobId=urgent.id)
    assert urgent.state() == "gone"
    board("put", "/pause")
    assert queue.is_paused()
    board("put", "/resume")
    board("put", "/:jobId/clean", jobId=done.id)
    assert toril_run("--until-empty").exit_code() == 0
    assert queue.counts() | {"completed": 4, "failed": 1} == queue.counts()
    board("put", "/retry/:queueStatus", queueStatus="failed")
    assert broken.state() == "waiting"
    board("put", "/empty")
    assert queue.counts()["waiting"] == 0
    node.call("onQueue", queue=queue.name, act="clean", args=[0, 0, "completed"])
    assert queue.counts()["completed"] == 0


def _listed(board: Callable[..., Any], queue: Queue) -> dict[str, list[str]]:
    """Ids by state; the counts that the board shows are the queue's."""
    (shown,) = board("get", "", query=_page(queue, "latest"))["queues"]
    counts = queue.counts()
    assert {name: counts[name] for name in shown["counts"]} == shown["counts"]
    return {
        state: [
            job["id"] for job in board("get", "", query=_page(queue, state))["queues"][0]["jobs"]
        ]
        for state in ("waiting", "prioritized", "delayed", "completed", "failed", "active")
    }


def _page(queue: Queue, status: str) -> dict[str, Any]:
    return {"activeQueue": queue.name, "status": status, "page": "1", "jobsPerPage": "10"}
