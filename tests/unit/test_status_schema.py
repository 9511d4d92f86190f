"""The documented schema of `toril status --json` is the one of the values that are written."""

from __future__ import annotations

import json

import msgspec

from tests.support.imports import ROOT
from toril.cli.fleet import FleetStatus

WRITTEN = ROOT / "docs" / "schemas" / "status.json"


def schema() -> dict:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "toril status --json",
        **msgspec.json.schema(FleetStatus),
    }


def test_the_documented_schema_is_the_one_in_force():
    """To renew it: `python -m tests.unit.test_status_schema`."""
    assert json.loads(WRITTEN.read_text()) == schema()


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(schema(), indent=2) + "\n")
