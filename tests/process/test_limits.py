"""What a child may use, and what is said when it uses more."""

from __future__ import annotations

import json

import pytest

from tests.process.harness import GOOD, HOSTILE, pen
from toril.call import Verdict
from toril.errors import InvalidOption
from toril.sandbox.limits import Limits

MIB = 1024 * 1024


async def test_shared_memory_over_the_limit_kills_the_child():
    """RLIMIT_DATA does not see it, the watchdog does."""
    async with pen(HOSTILE, memory_bytes=64 * MIB) as p:
        child = await p.child()
        outcome = await p.run("take_shared_memory", child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.OVER_MEMORY
    assert outcome.message.startswith("over the memory limit: grew by ")
    assert outcome.message.endswith(" (limit 64 MiB), killed")
    assert outcome.detail["limit_bytes"] == 64 * MIB
    assert (end.signal, end.expected, end.reason) == (9, False, Verdict.OVER_MEMORY)


async def test_mapped_files_are_not_memory_of_the_child(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(32 * MIB))
    async with pen(memory_bytes=16 * MIB) as p:
        outcome = await p.run("read_file", [str(path), 0.6])

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b"0")


async def test_shared_memory_is_not_limited_without_a_limit():
    async with pen(HOSTILE, memory_bytes=None, timeout_s=0.6) as p:
        outcome = await p.run("take_shared_memory")

    assert outcome.verdict is Verdict.TIMED_OUT


@pytest.mark.parametrize("name", ["ignore_everything", "spin_in_c"])
async def test_cpu_time_over_the_limit_ends_the_attempt(name):
    async with pen(HOSTILE, cpu_s=0.3, grace_s=0.2) as p:
        outcome = await p.run(name)

    assert outcome.verdict is Verdict.CPU_LIMIT
    assert outcome.message.startswith("over the CPU limit: used ")
    assert outcome.message.endswith("(limit 300 ms)")
    assert outcome.detail["limit_ms"] == 300
    assert outcome.detail["stage"] == "sigkill"
    assert outcome.usage.cpu_ms >= 300


async def test_job_over_its_cpu_time_is_told_to_stop():
    async with pen(GOOD, cpu_s=0.3) as p:
        outcome = await p.run("loop")

    assert outcome.verdict is Verdict.CPU_LIMIT
    assert outcome.detail["stage"] == "exception"
    assert "in loop" in outcome.stack


async def test_cpu_time_counts_for_each_attempt_and_waiting_is_free():
    async with pen(GOOD, cpu_s=0.3) as p:
        child = await p.child()
        verdicts = [(await p.run("nap", 0.4, child=child)).verdict for _ in range(2)]

    assert verdicts == [Verdict.RETURNED] * 2


async def test_open_files_are_limited():
    async with pen(HOSTILE, open_files=32) as p:
        outcome = await p.run("open_many")

    assert json.loads(outcome.value) == [25, 24]  # Seven are the child's own; EMFILE.


async def test_log_lines_over_the_limit_are_dropped_and_counted():
    async with pen(GOOD, log_lines=10) as p:
        child = await p.child()
        await p.run("log_lines", 100_000, child=child)
        await p.run("log_lines", 11, child=child)

    heard = p.heard[child]
    assert heard.lines("log") == [str(number) for number in range(10)] * 2
    assert heard.lines("stderr") == [
        "[output truncated: 488880 bytes in 99990 lines dropped]",
        "[output truncated: 2 bytes in 1 lines dropped]",
    ]


async def test_log_and_prints_share_their_lines():
    """Which of them are kept when they come together is left to chance."""
    async with pen(GOOD, log_lines=8) as p:
        child = await p.child()
        await p.run("print_lines", 5, child=child)
        p.begin(child, "log_and_print", 5)
        await p.finish(child)

    said = [line for _, line in p.heard[child].log]
    assert len(said) == 5 + 8 + 1
    assert said[-1].endswith(" in 2 lines dropped]")


async def test_soft_timeout_lets_the_processor_finish():
    async with pen(GOOD, soft_timeout_s=0.2, timeout_s=20) as p:
        child = await p.child()
        outcome = await p.run("finish_when_time_is_nearly_up", child=child)
        end = await p.gone(child)

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b'"finished in time"')
    assert end.expected, "an interrupted child is replaced"
    assert p.heard[child].idles == 1


async def test_soft_timeout_that_is_not_caught_ends_the_attempt():
    async with pen(GOOD, soft_timeout_s=0.2, timeout_s=20) as p:
        outcome = await p.run("loop")

    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.message.endswith("(soft limit 200 ms)")
    assert (outcome.error_name, outcome.detail["soft"]) == ("SoftTimeout", True)
    assert "in loop" in outcome.stack


async def test_error_after_a_soft_timeout_is_an_error():
    async with pen(GOOD, soft_timeout_s=0.2, timeout_s=20) as p:
        outcome = await p.run("raise_after_soft_timeout")

    assert (outcome.verdict, outcome.message) == (Verdict.RAISED, "half done")


async def test_hard_timeout_follows_a_soft_one_that_is_ignored():
    async with pen(HOSTILE, soft_timeout_s=0.1, timeout_s=0.4, grace_s=0.2) as p:
        outcome = await p.run("ignore_everything")

    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.message.endswith("(limit 400 ms)")
    assert outcome.detail["stage"] == "sigkill"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cpu_s": 0}, "cpu_s is 0"),
        ({"max_age_s": -1}, "max_age_s is -1"),
        ({"open_files": 8}, "open_files is 8; expected at least 16"),
        ({"timeout_s": 5, "soft_timeout_s": 5}, "soft_timeout_s is 5; expected less than"),
        ({"grace_s": -1}, "grace_s is -1"),
    ],
)
def test_limit_that_cannot_be_is_refused(changes, says):
    with pytest.raises(InvalidOption, match=says):
        Limits(**changes)


async def test_peak_memory_is_told_for_each_attempt():
    """What was freed again counts, what an earlier attempt took does not; the same as last time
    is told, too."""
    async with pen(GOOD) as p:
        child = await p.child()
        peaks = [
            (await p.run("use_memory", size, child=child)).usage.peak_memory_bytes
            for size in (100 * MIB, 1, 1, 1, 100 * MIB, 1)
        ]

    assert [100 * MIB < peak < 250 * MIB for peak in peaks] == [
        True,
        False,
        False,
        False,
        True,
        False,
    ]
    assert all(MIB < peak < 80 * MIB for peak in (*peaks[1:4], peaks[5]))


async def test_growth_is_counted_from_ready():
    async with pen(GOOD) as p:
        child = await p.child()
        before = child.process.growth_bytes
        for _ in range(3):
            await p.run("grow", 10 * MIB, child=child)
        after = child.process.growth_bytes

    assert before == 0
    assert 29 * MIB < after < 60 * MIB
