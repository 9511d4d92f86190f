"""Entries for the journal: its protocol over a real socket, and lines where there is no journal."""

from __future__ import annotations

import array
import fcntl
import io
import os
import socket
import struct

import pytest
from msgspec.structs import replace

from tests.unit.test_log import SETTLED
from toril import events as ev
from toril.log import Log
from toril.log_settings import LogSettings
from toril.rendering import as_journal

OUTPUT = ev.JobOutput("images", "7", "stdout", "one\ntwo=2", "order-7")


@pytest.fixture
def journal(tmp_path):
    """A socket where the journal's would be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(10)
        yield listening


def logged(listening: socket.socket, *events: ev.Event, told: LogSettings | None = None) -> str:
    lines = io.StringIO()
    with Log(lines, told, journal=listening.getsockname()) as log:
        for event in events:
            log(event)
    return lines.getvalue()


def received(listening: socket.socket) -> dict[str, str]:
    data, control, _, _ = listening.recvmsg(2**20, socket.CMSG_SPACE(4))
    for _, _, rights in control:
        (fd,) = array.array("i", rights[:4])
        with os.fdopen(fd, "rb") as file:
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
            file.seek(0)
            data = file.read()
    return parsed(data)


def parsed(data: bytes) -> dict[str, str]:
    """As the journal reads an entry."""
    fields = {}
    while data:
        name, equals, _ = data.partition(b"\n")[0].partition(b"=")
        if equals:
            value, _, data = data[len(name) + 1 :].partition(b"\n")
        else:
            (length,) = struct.unpack_from("<Q", data, len(name) + 1)
            value = data[len(name) + 9 :][:length]
            assert data[len(name) + 9 + length :][:1] == b"\n"
            data = data[len(name) + 10 + length :]
        fields[name.decode()] = value.decode()
    return fields


def test_a_settled_job_has_its_fields(journal):
    event = replace(SETTLED, correlation_id="order-7", error_name="OSError")
    assert logged(journal, event) == ""

    fields = received(journal)

    assert fields.pop("MESSAGE").startswith("images job 7 [order-7] optimize attempt 1 raised")
    assert fields == {
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "toril",
        "TORIL_EVENT": "job-settled",
        "TORIL_QUEUE": "images",
        "TORIL_JOB": "7",
        "TORIL_NAME": "optimize",
        "TORIL_ATTEMPT": "1",
        "TORIL_VERDICT": "raised",
        "TORIL_SETTLED": "failed",
        "TORIL_WAIT_MS": "3",
        "TORIL_RUN_MS": "4",
        "TORIL_REASON": "boom",
        "TORIL_ERROR_NAME": "OSError",
        "TORIL_CORRELATION": "order-7",
    }


def test_each_of_many_jobs_finds_the_entry():
    data = as_journal(ev.StalledRecovered("images", ("7", "8")), "WARNING", "stalled")
    assert b"\nTORIL_JOB=7\nTORIL_JOB=8\n" in data


def test_text_of_several_lines_stays_whole_and_forges_no_field(journal):
    forged = replace(OUTPUT, job_id="7\nTORIL_JOB=8")
    logged(journal, forged)

    fields = received(journal)

    assert fields["TORIL_LINE"] == "one\ntwo=2"
    assert fields["TORIL_JOB"] == "7\nTORIL_JOB=8"
    assert fields["MESSAGE"] == r"images job 7\nTORIL_JOB=8 [order-7] stdout: one\ntwo=2"


def test_an_entry_that_no_datagram_holds_goes_as_a_sealed_file(journal):
    journal.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    logged(journal, replace(OUTPUT, line="x" * 2**19))

    assert received(journal)["TORIL_LINE"] == "x" * 2**19


def test_without_a_journal_lines_are_written(tmp_path):
    lines = io.StringIO()
    with Log(lines, journal=str(tmp_path / "nobody")) as log:
        log(SETTLED)
        log.say("the end")
    settled, end = lines.getvalue().splitlines()
    assert settled.startswith("images job 7 optimize attempt 1 raised -> failed")
    assert end == "the end"


def test_a_journal_that_was_restarted_is_found_again(tmp_path):
    path, lines = tmp_path / "socket", io.StringIO()
    with Log(lines, journal=str(path)) as log:
        for count in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
                listening.bind(str(path))
                listening.settimeout(10)
                log(replace(SETTLED, job_id=str(count)))
                assert received(listening)["TORIL_JOB"] == str(count)
            path.unlink()
    assert lines.getvalue() == ""


def test_a_form_that_is_asked_for_is_written_to_the_stream(journal):
    assert logged(journal, SETTLED, told=LogSettings(format="json")).startswith("{")
