"""`docs/bullmq.md` names what exists; the interop tests hold it against BullMQ's own names."""

from __future__ import annotations

import dataclasses
import re

import pytest

import toril
from tests.support.imports import ROOT
from toril import AsyncJob, AsyncQueue, Job, Queue, QueueEvents
from toril.cli.main import main
from toril.runtime.newjob import NewJob

PAGE = (ROOT / "docs" / "bullmq.md").read_text(encoding="utf-8")


def named(word: str) -> set[str]:
    """Names that the page gives as attributes of `word`."""
    return set(re.findall(rf"\b{word}\.(\w+)", PAGE))


@pytest.mark.parametrize(
    ("word", "classes"),
    [("queue", (Queue, AsyncQueue)), ("job", (Job, AsyncJob)), ("events", (QueueEvents,))],
)
def test_every_name_exists(word: str, classes: tuple[type, ...]) -> None:
    assert named(word)
    for one in classes:
        members = set(dir(one)) | set(getattr(one, "__struct_fields__", ()))
        members |= {"last_event_id"} if one is QueueEvents else set()
        assert named(word) - members == set()


@pytest.mark.parametrize(("word", "one"), [("queue", Queue), ("events", QueueEvents)])
def test_every_public_method_stands_on_the_page(word: str, one: type) -> None:
    methods = {name for name in dir(one) if not name.startswith("_")}
    assert methods - named(word) == set()


def test_every_method_of_a_job_stands_on_the_page() -> None:
    fields = set(Job.__struct_fields__)
    methods = {name for name in dir(Job) if not name.startswith("_")} - fields - {"of"}
    assert methods - named("job") == set()


def test_every_class_and_option_exists() -> None:
    events = set(re.findall(r"`([A-Z]\w+Event)`", PAGE))
    assert events == {name for name in toril.__all__ if name.endswith("Event")} - {"QueueEvent"}
    section = PAGE.split("## Options of a job")[1].split("## Job")[0]
    options = {
        name
        for row in re.findall(r"^\| `.+?\| (.+?) \|", section, re.MULTILINE)
        for name in re.findall(r"^`([a-z_]+)`|, `([a-z_]+)`", row)
        for name in name
        if name
    }
    known = {one.name for one in dataclasses.fields(NewJob)} - {"name", "data", "_"}
    assert options == known


def test_every_flag_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= flags
