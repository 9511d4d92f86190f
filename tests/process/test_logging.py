"""What a processor logs with the standard library reaches the supervisor with level and logger."""

from __future__ import annotations

import pytest

from tests.process.harness import pen
from toril.call import Verdict
from toril.errors import ProtocolError
from toril.sandbox.record import Record, encode

LOGGED = "tests.process.processors.logged:processors"


async def test_records_have_level_logger_and_text():
    async with pen(LOGGED) as p:
        child = await p.child()
        await p.run("levels", child=child)

    levels = ("INFO", "WARNING", "ERROR", "ERROR")
    numbers = (20, 30, 40, 50)
    assert p.heard[child].records == [
        Record(level, "myapp.images", f"job 7 at {number}")
        for level, number in zip(levels, numbers, strict=True)
    ]


async def test_a_traceback_is_part_of_the_text():
    async with pen(LOGGED) as p:
        child = await p.child()
        await p.run("fail", child=child)

    (record,) = p.heard[child].records
    assert record.text.startswith("cannot\nopen\nTraceback (most recent call last):\n")
    assert record.text.endswith("literal for int() with base 10: 'no number'")


async def test_threads_log_at_a_time_and_nothing_is_torn():
    async with pen(LOGGED, log_lines=10_000) as p:
        child = await p.child()
        outcome = await p.run("from-threads", 300, child=child)

    assert outcome.verdict is Verdict.RETURNED
    texts = sorted(int(record.text) for record in p.heard[child].records)
    assert texts == sorted([*range(300)] * 4)


async def test_records_share_the_limit_on_output():
    async with pen(LOGGED, log_lines=50) as p:
        child = await p.child()
        outcome = await p.run("from-threads", 300, child=child)

    heard = p.heard[child]
    assert outcome.verdict is Verdict.RETURNED
    assert len(heard.records) == 50
    assert "in 1150 lines dropped" in heard.lines("stderr")[-1]


async def test_odd_records_are_cut_and_cleaned_and_do_no_harm():
    async with pen(LOGGED) as p:
        child = await p.child()
        outcome = await p.run("odd", child=child)

    long, lone = p.heard[child].records
    assert outcome.value == b'"goes on"'
    assert len(long.logger) <= 255
    assert long.text.endswith("[cut]")
    assert lone == Record("WARNING", "\\ud800", "a \\ud800 b")
    assert any("no number" in line for line in p.heard[child].lines("stderr"))


async def test_who_configures_logging_is_left_alone():
    async with pen("tests.process.processors.logged_own_way:process") as p:
        child = await p.child()
        await p.run("x", child=child)

    heard = p.heard[child]
    assert heard.records == []
    lines = heard.lines("stdout")
    assert lines[0] == "INFO|done"
    assert lines[1:3] == ["DEBUG|job 7 at 10", "INFO|job 7 at 20"]


@pytest.mark.parametrize("payload", [b"", b"\x14", b"\x14\x05abc"])
def test_a_malformed_record_breaks_the_protocol(payload):
    with pytest.raises(ProtocolError, match="RECORD"):
        Record.decode(payload)


def test_a_record_comes_out_as_it_went_in():
    assert Record.decode(encode(35, "a.b", "ä\nb")) == Record("WARNING", "a.b", "ä\nb")
    assert Record.decode(encode(9999, "", "")) == Record("ERROR", "", "")
    assert Record.decode(encode(-5, "", "")) == Record("DEBUG", "", "")
