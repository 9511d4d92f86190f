"""toril beside Node on one queue: waiting clients, other workers, operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.conftest import BOTH_MAJORS, BOTH_MAJORS_IN_FULL
from tests.interop.node import NodeError
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun


@pytest.fixture
def toril_worker(toril_run: Callable[..., TorilRun]) -> TorilRun:
    """toril on the test's queue with two children, ready."""
    return toril_run("--concurrency", "2").ready()


def _blocked_on_marker(client: redis.Redis) -> list[dict[str, Any]]:
    return [one for one in client.client_list() if one["cmd"] == "bzpopmin" and "b" in one["flags"]]


@BOTH_MAJORS
def test_1_node_sees_its_job_completed_by_toril(
    node: NodeDriver, queue_name: str, toril_worker: TorilRun
):
    job_id = node.call("add", queue=queue_name, name="echo", data={"n": 1})

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == {"n": 1}
    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["state"], job["returnvalue"]) == ("completed", {"n": 1})
    assert (job["attemptsMade"], job["attemptsStarted"]) == (1, 1)
    assert job["processedBy"].endswith(f"-{toril_worker.process.pid}")


@BOTH_MAJORS
@pytest.mark.usefixtures("toril_worker")
def test_5_idle_toril_is_woken_by_a_delayed_job(node: NodeDriver, queue_name: str):
    job_id = node.call("add", queue=queue_name, name="echo", data=1, opts={"delay": 500})

    node.call("waitUntilFinished", queue=queue_name, id=job_id)

    job = node.call("getJob", queue=queue_name, id=job_id)
    assert 500 <= job["processedOn"] - job["timestamp"] < 1500


@BOTH_MAJORS_IN_FULL
@pytest.mark.usefixtures("toril_worker")
@pytest.mark.parametrize("removed", [True, False])
def test_17_nodes_wait_until_finished_learns_how_the_job_ended(
    removed: bool,  # noqa: FBT001 - a parameter of the test
    node: NodeDriver,
    queue_name: str,
):
    opts = {"removeOnComplete": removed, "removeOnFail": removed, "delay": 300}
    good = node.call("add", queue=queue_name, name="echo", data="fine", opts=opts)
    assert node.call("waitUntilFinished", queue=queue_name, id=good) == "fine"

    bad = node.call("add", queue=queue_name, name="fail", data={"message": "no way"}, opts=opts)
    with pytest.raises(NodeError, match="no way"):
        node.call("waitUntilFinished", queue=queue_name, id=bad)


@BOTH_MAJORS_IN_FULL
def test_3_4_jobs_run_in_bullmqs_order(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    opts = [{"priority": 5}, {"priority": 1}, {"priority": 1}, {}, {}, {"lifo": True}]
    names = ["p5", "p1", "p1-later", "first", "second", "lifo"]
    for name, options in zip(names, opts, strict=True):
        node.call("add", queue=queue_name, name="echo", opts={"jobId": name} | options)
    node.call("listen", queue=queue_name)

    assert toril_run("--concurrency", "1", "--until-empty").exit_code() == 0

    seen = node.call("heard", queue=queue_name, of="completed", count=6)["seen"]
    ran = [event["jobId"] for event in seen if event["event"] == "active"]
    assert ran == ["lifo", "first", "second", "p1", "p1-later", "p5"]
    assert [event["event"] for event in seen][-1] == "drained"


@pytest.mark.parametrize(
    ("keep", "left"), [(True, 0), (2, 2), ({"count": 3, "age": 3600}, 3), (False, 5)]
)
def test_12_finished_jobs_are_kept_by_the_same_rule(
    keep: Any, left: int, node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    opts = {"removeOnComplete": keep, "removeOnFail": keep}
    for name in ("echo", "fail"):
        jobs = [{"name": name, "data": {}, "opts": opts} for _ in range(5)]
        node.call("addBulk", queue=queue_name, jobs=jobs)

    assert toril_run("--concurrency", "1", "--until-empty").exit_code() == 0

    expected = {"completed": ["1", "2", "3", "4", "5"], "failed": ["6", "7", "8", "9", "10"]}
    for state, ids in expected.items():
        newest = ids[len(ids) - left :]
        assert sorted(node.call("jobs", queue=queue_name, types=[state]), key=int) == newest
        assert [node.call("getJob", queue=queue_name, id=i) is not None for i in ids] == [
            i in newest for i in ids
        ]


def test_12_worker_keeps_by_its_own_rule_what_says_nothing_itself(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    """The same flags and options, on two queues of the same jobs."""
    by_node = f"{queue_name}-node"
    jobs = [{"name": name, "data": {}} for name in ("echo", "fail") for _ in range(4)]
    own = {"removeOnComplete": False, "removeOnFail": False}
    jobs += [{"name": name, "data": {}, "opts": own} for name in ("echo", "fail")]
    for queue in (by_node, queue_name):
        node.call("addBulk", queue=queue, jobs=jobs)
    options = {"removeOnComplete": {"count": 2, "age": 3600}, "removeOnFail": {"count": 0}}
    node.call("startWorker", queue=by_node, options=options | {"concurrency": 1})
    node.call("listen", queue=by_node)
    node.call("heard", queue=by_node, of="drained")

    flags = ("--remove-on-complete", "2,1h", "--remove-on-fail", "0", "--concurrency", "1")
    assert toril_run(*flags, "--until-empty").exit_code() == 0

    for state in ("completed", "failed"):
        ours = node.call("jobs", queue=queue_name, types=[state])
        assert ours == node.call("jobs", queue=by_node, types=[state])
        assert ours


@pytest.mark.parametrize("busy", [False, True])
def test_75_workers_list_shows_toril_once(
    busy: bool,  # noqa: FBT001 - a parameter of the test
    node: NodeDriver,
    queue_name: str,
    toril_run: Callable[..., TorilRun],
):
    """From the start, whether or not its children leave it a moment to wait for jobs."""
    if busy:
        jobs = [{"name": "slow", "data": {"ms": 8000}} for _ in range(3)]
        node.call("addBulk", queue=queue_name, jobs=jobs)
    run = toril_run("--concurrency", "2").ready()

    (worker,) = until(lambda: node.call("workers", queue=queue_name), timeout_s=5)

    assert worker["name"] == queue_name
    assert worker["rawname"].endswith(f"-{run.process.pid}")
    run.process.kill()


def test_node_worker_gets_a_new_job_while_torils_children_are_busy(
    node: NodeDriver, queue_name: str, toril_worker: TorilRun, redis_client: redis.Redis
):
    """A supervisor without a free child must not take the wake-up from a worker that has one."""
    node.call("listen", queue=queue_name)
    for _ in range(2):
        node.call("add", queue=queue_name, name="slow", data={"ms": 8000})
    node.call("heard", queue=queue_name, of="active", count=2)
    node.call("startWorker", queue=queue_name, options={"drainDelay": 60, "concurrency": 1})
    waited = []

    for number in range(1, 11):
        until(lambda: len(_blocked_on_marker(redis_client)) == 1)
        job_id = node.call("add", queue=queue_name, name="nothing", data={})
        node.call("heard", queue=queue_name, of="completed", count=number)
        job = node.call("getJob", queue=queue_name, id=job_id)
        waited.append(job["processedOn"] - job["timestamp"])

    assert [start["name"] for start in node.call("startedJobs")] == ["nothing"] * 10
    assert max(waited) < 2000, "only its poll, a minute later, would have found the job"
    toril_worker.process.kill()


@BOTH_MAJORS_IN_FULL
@pytest.mark.usefixtures("toril_worker")
def test_48_idle_workers_of_both_kinds_share_a_burst(node: NodeDriver, queue_name: str):
    """The wake-up chain: every fetch leaves a marker, so nobody sleeps through its poll."""
    node.call("startWorker", queue=queue_name, options={"drainDelay": 60, "concurrency": 2})
    node.call("listen", queue=queue_name)

    jobs = [{"name": "slow", "data": {"ms": 100}} for _ in range(20)]
    ids = node.call("addBulk", queue=queue_name, jobs=jobs)

    node.call("heard", queue=queue_name, of="completed", count=20)
    by_node = [start["id"] for start in node.call("startedJobs")]
    assert len(set(by_node)) == len(by_node)
    assert 0 < len(by_node) < len(ids)
    ended = [node.call("getJob", queue=queue_name, id=id_) for id_ in ids]
    assert all((job["state"], job["attemptsStarted"]) == ("completed", 1) for job in ended)
    took = max(job["finishedOn"] for job in ended) - min(job["timestamp"] for job in ended)
    assert took < 2000


@BOTH_MAJORS
def test_46_47_paused_queue_is_left_alone_until_it_is_resumed(
    node: NodeDriver, queue_name: str, toril_worker: TorilRun
):
    """BullMQ 5 keeps the jobs of a paused queue in a list of their own."""
    node.call("pause", queue=queue_name)
    job_id = node.call("add", queue=queue_name, name="echo", data=1)
    before = node.call("getJob", queue=queue_name, id=job_id)["state"]

    node.call("resume", queue=queue_name)

    assert before in {"waiting", "paused"}
    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == 1
    assert toril_worker.process.poll() is None


@BOTH_MAJORS_IN_FULL
def test_2_hundred_jobs_run_in_the_order_of_addition(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    jobs = [{"name": "echo", "data": number} for number in range(100)]
    ids = node.call("addBulk", queue=queue_name, jobs=jobs)

    assert toril_run("--concurrency", "1", "--until-empty").exit_code() == 0

    node.call("listen", queue=queue_name)
    seen = node.call("heard", queue=queue_name, of="completed", count=100)["seen"]
    assert [event["jobId"] for event in seen if event["event"] == "active"] == ids


@BOTH_MAJORS_IN_FULL
def test_6_jobs_due_in_the_same_millisecond_run_in_the_order_of_addition(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
):
    due_ms = redis_client.time()[0] * 1000 + 1000
    ids = [f"job-{number}" for number in range(3)]
    for id_ in ids:
        opts = {"jobId": id_, "timestamp": due_ms - 1000, "delay": 1000}
        node.call("add", queue=queue_name, name="echo", opts=opts)

    assert toril_run("--concurrency", "1", "--until-empty").exit_code() == 0

    node.call("listen", queue=queue_name)
    seen = node.call("heard", queue=queue_name, of="completed", count=3)["seen"]
    assert [event["jobId"] for event in seen if event["event"] == "active"] == ids


@BOTH_MAJORS_IN_FULL
def test_71_queue_events_sees_every_step_with_bullmqs_fields(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    node.call("listen", queue=queue_name)
    data = {"progress": {"half": 0.5}}
    job_id = node.call("add", queue=queue_name, name="progress", data=data)

    assert toril_run("--until-empty").exit_code() == 0

    heard = node.call("heard", queue=queue_name, of="drained")
    assert heard == {
        "seen": [
            {"event": "added", "jobId": job_id, "name": "progress"},
            {"event": "waiting", "jobId": job_id},
            {"event": "active", "jobId": job_id, "prev": "waiting"},
            {"event": "progress", "jobId": job_id, "data": {"half": 0.5}},
            {"event": "completed", "jobId": job_id, "returnvalue": "reported", "prev": "active"},
            {"event": "drained"},
        ],
        "errors": [],
    }


def test_76_node_reads_the_metrics_that_a_toril_worker_keeps(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    jobs = [{"name": name, "data": {}} for name in ("echo", "echo", "fail")]
    node.call("addBulk", queue=queue_name, jobs=jobs)

    assert toril_run("--metrics", "10", "--until-empty").exit_code() == 0

    for state, count in (("completed", 2), ("failed", 1)):
        found = node.call("onQueue", queue=queue_name, act="getMetrics", args=[state])
        assert found["meta"]["count"] == count


def test_75_worker_bears_the_name_it_was_given(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun]
):
    toril_run("--name", "pen-1").ready()
    job_id = node.call("add", queue=queue_name, name="echo", data=1)

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == 1

    (worker,) = until(lambda: node.call("workers", queue=queue_name))
    assert worker["rawname"].endswith(":w:pen-1")
    assert node.call("getJob", queue=queue_name, id=job_id)["processedBy"] == "pen-1"
