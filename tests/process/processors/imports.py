"""Writes processor modules that do something when they are imported."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROCESS = "\ndef process(job):\n    return 'ran'\n"


def write_module(folder: Path, name: str, source: str) -> str:
    """A module in `folder`; returns the processor's path."""
    (folder / f"{name}.py").write_text(dedent(source) + PROCESS, encoding="utf-8")
    return f"{name}:process"
