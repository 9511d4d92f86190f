"""`toril config show|schema`: the settings in force and where they come from, or their schema."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from toril.cli.sources import sources_of
from toril.supervisor.config.load import load
from toril.supervisor.config.shown import Shown, json_schema, shown

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Print them."""
    if options.action == "schema":
        sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
        return os.EX_OK
    settings = shown(load(sources_of(options)))
    if options.json:
        found = {one.name: {"value": one.value, "origin": one.origin} for one in settings}
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.writelines(_line(one, with_origin=options.origin) for one in settings)
    return os.EX_OK


def _line(one: Shown, *, with_origin: bool) -> str:
    line = f"{one.name} = {json.dumps(one.value, ensure_ascii=False)}"
    return f"{line:<60} # {one.origin}\n" if with_origin else line + "\n"
