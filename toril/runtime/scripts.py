"""The Lua scripts as they are sent: files of `lua/` with their shared pieces put in.

A line `-- include lib/x.lua` is replaced by that file's text, once per script however often it is
asked for; an include may include. One that stands inside a function is that function's own. A
`#!lua` line stays first, as Redis wants it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LUA = Path(__file__).with_name("lua")
_INCLUDE = re.compile(r"^ *-- include (lib/[a-z_]+\.lua)$")


@dataclass(frozen=True, slots=True)
class Script:
    """One script, ready for EVALSHA or SCRIPT LOAD.

    Attributes:
        name: file name in `lua/` without its ending.
        text: with every include resolved.
        sha: SHA1 of the text, as Redis computes it.
    """

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script of that name, read once per process.

    Raises:
        FileNotFoundError: no such script, or it includes a file that is not there.
    """
    text = _resolved(LUA / f"{name}.lua", seen=set())
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def script_names() -> list[str]:
    """Names of all scripts, sorted."""
    return sorted(path.stem for path in LUA.glob("*.lua"))


def _resolved(path: Path, seen: set[Path]) -> str:
    seen.add(path)
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _INCLUDE.match(line)
        if match is None:
            lines.append(line)
        elif (piece := LUA / match[1]) not in seen:
            lines.append(_resolved(piece, seen))
    return "\n".join(lines)
