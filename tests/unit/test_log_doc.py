"""docs/operations.md has every event with its fields."""

from __future__ import annotations

import re
import typing

from tests.support.imports import ROOT
from toril import events as ev
from toril.log_settings import SECRETS
from toril.rendering import field_names

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LOGS = re.split(r"^## ", PAGE.split("\n## Logs\n")[1], flags=re.MULTILINE)[0]
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR"}


def name_of(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def test_the_table_of_events_is_true():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+)[^|]* \| ([^|]*) \|", LOGS, re.MULTILINE)
    told = {event: re.findall(r"`(\w+)`", named) for event, _, named in rows}
    kinds = typing.get_args(ev.Event)
    assert told == {name_of(kind): list(field_names(kind)) for kind in kinds}
    assert {level for _, level, _ in rows} <= LEVELS


def test_the_names_that_are_masked_stand_on_the_page():
    for name in SECRETS:
        assert f"`{name}`" in LOGS
