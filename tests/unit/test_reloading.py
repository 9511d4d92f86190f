"""What a reload says of settings: in a file's words, and only that changes now what does."""

from __future__ import annotations

from dataclasses import replace

from toril.log_settings import LogSettings
from toril.runtime.limiter import RateLimit
from toril.sandbox.allow import Allow
from toril.supervisor.reloading import changes
from toril.supervisor.settings import QueueSettings, Settings

QUEUE = QueueSettings("q", "a:b", concurrency=2)
OLD = Settings("redis://h", (QUEUE,), worker_name="me")


def test_what_hears_and_answers_for_the_supervisor_waits_for_a_restart():
    new = replace(
        OLD, health_listen="127.0.0.1:9464", log=LogSettings(level="debug"), drain_timeout_ms=1
    )

    found = changes(OLD, new)

    assert found.waiting == ("health.listen", "log.level")
    assert found.applied == ("drain_timeout",)
    assert found.settings == replace(OLD, drain_timeout_ms=1)


def test_settings_of_a_queue_are_named_as_its_file_names_them():
    new = replace(
        QUEUE,
        concurrency=4,
        min_concurrency=1,
        lock_ms=20_000,
        import_in="child",
        limits=replace(QUEUE.limits, timeout_s=1.0, memory_bytes=1 << 30),
        allow=Allow(network=("tcp",)),
        hidden=("/a",),
    )

    found = changes(OLD, replace(OLD, queues=(new,)))

    assert found.waiting == ("queues.q.lock_duration",)
    assert set(found.applied) == {
        "queues.q.concurrency",
        "queues.q.sandbox.import",
        "queues.q.timeout",
        "queues.q.sandbox.memory",
        "queues.q.sandbox.allow.network",
        "queues.q.hidden",
    }
    assert len(found.applied) == 6


def test_parts_of_a_rate_limit_are_told_apart():
    old = replace(QUEUE, rate_limit=RateLimit(1, 1000, 1))
    new = replace(QUEUE, rate_limit=RateLimit(2, 1000, 1, 7))

    found = changes(replace(OLD, queues=(old,)), replace(OLD, queues=(new,)))

    assert found.applied == ("queues.q.rate_limit.tokens", "queues.q.rate_limit.revision")
