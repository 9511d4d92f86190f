"""What no worker can prevent: Redis forgets what it acknowledged. Said plainly, and survived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.invariants.stage import ORDINARY, QUEUE, active, run, words
from toril import NewJob, Queue

if TYPE_CHECKING:
    from tests.support.servers import RedisServer


def append_only_file(server: RedisServer) -> Path:
    """The part that grows."""
    with server.connect() as client:
        settings = client.config_get("dir", "appenddirname")
    folder = Path(settings["dir"]) / settings["appenddirname"]
    return max(folder.glob("*.incr.aof"))


def test_without_an_append_only_file_a_killed_redis_loses_every_job(private_server):
    """The worker says whose result nobody wants any more, and goes on with what comes."""
    server = private_server(append_only=False)
    with Queue(QUEUE, redis=server.url) as queue, run(server.url, processor=ORDINARY) as toril:
        running = queue.add("nap", {"seconds": 1.5})
        queue.add_bulk(NewJob("echo", {}) for _ in range(20))
        active(queue, toril)
        server.kill()
        toril.wait_for("redis-lost")
        server.start()
        toril.wait_for("redis-back")
        assert sum(queue.counts().values()) == 0
        assert queue.add("echo", "after").wait(timeout="20s") == "after"
        told = toril.wait_until(
            lambda: toril.found("lock-lost") + toril.found("settlement-refused"), bool, 10
        )
        assert {one["job_id"] for one in told} == {running.id}


def test_a_job_whose_recorded_end_was_lost_runs_again(private_server, tmp_path):
    """Power loss takes the end of the append-only file: what it told never happened."""
    server = private_server()
    ledger = tmp_path / "ledger"
    with Queue(QUEUE, redis=server.url) as queue:
        job = queue.add("echo", {"ledger": str(ledger)})
        kept_bytes = append_only_file(server).stat().st_size
        late = queue.add("echo", {})
        with run(server.url, processor=ORDINARY) as toril:
            toril.wait_until(queue.counts, lambda counts: counts["completed"] == 2, 20)
            grown = append_only_file(server)
            server.kill()
            with grown.open("r+b") as file:
                file.truncate(kept_bytes)
            server.start()
            toril.wait_until(lambda: words(ledger), lambda told: told.count("finished") == 2, 20)
            toril.wait_until(queue.counts, lambda counts: counts["completed"] == 1, 20)
        assert queue.get_job(job.id).attempts_started == 1
        assert queue.get_job(late.id) is None
