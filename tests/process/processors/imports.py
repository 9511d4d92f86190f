"""Not a processor: writes modules that do something at import, one file per test."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

PROCESS = "\ndef process(job):\n    return 'ran'\n"


def write_module(folder: Path, name: str, source: str) -> str:
    """A module in `folder`; returns the processor's path."""
    (folder / f"{name}.py").write_text(dedent(source) + PROCESS, encoding="utf-8")
    return f"{name}:process"
