"""What `ps` shows: which queue, how busy, and what each child runs."""

from __future__ import annotations

import psutil

from tests.support.toril import TorilRun
from toril import Queue


def titles(toril: TorilRun) -> list[str]:
    supervisor = psutil.Process(toril.process.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    return [" ".join(process.cmdline()).strip() for process in family]


def test_process_titles_tell_queue_load_and_job(redis_url):
    processors = "tests.end_to_end.processors:processors"
    with (
        Queue("titles", redis=redis_url) as queue,
        TorilRun("titles", processors, redis_url, "--concurrency", "2").ready() as toril,
    ):
        queue.add("nap", {"seconds": 30})
        shown = toril.wait_until(
            lambda: titles(toril), lambda found: "toril: titles [1/2 busy]" in found, 10
        )
        assert "toril: titles zygote" in shown
        assert any(title.startswith("toril: titles child ") and "nap" in title for title in shown)
