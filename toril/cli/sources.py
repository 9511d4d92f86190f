"""From a command line to the sources of its settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from toril.cli.flags import QUEUES, given
from toril.supervisor.config.layers import Layer
from toril.supervisor.config.load import Sources, find_file, load_server, read

if TYPE_CHECKING:
    import argparse

    from toril.supervisor.config.load import Server
    from toril.supervisor.config.toml_file import Keys

_FILE_VARIABLE = "TORIL_CONFIG"


def sources_of(options: argparse.Namespace) -> Sources:
    """What a verb that works queues is told.

    The file is the one that is named; else, unless queue and processor are given, the one that
    stands in this directory.

    Raises:
        InvalidOption: the file is missing or no TOML, or a burst stands alone.
    """
    is_whole = bool(options.queue) and options.processor_ is not None
    path = _named_file(options) or (None if is_whole else find_file(Path()))
    queues = tuple(options.queue) or _configured(path)
    values, names = given(options, queues)

    def where(keys: Keys) -> str:
        while keys and keys not in names:
            keys = keys[:-1]
        return names.get(keys, "--queue")

    flags = Layer(values, where)
    return Sources(flags, os.environ, path, tuple(options.queue))


def server_of(options: argparse.Namespace) -> Server:
    """The server that a verb talks to.

    Raises:
        InvalidOption: none is named, or the file is missing or no TOML.
    """
    path = _named_file(options) or find_file(Path())
    typed = {"redis": options.redis, "prefix": options.prefix}
    values = {name: value for name, value in typed.items() if value is not None}
    return load_server(Sources(Layer(values, lambda keys: f"--{keys[0]}"), os.environ, path))


def _named_file(options: argparse.Namespace) -> Path | None:
    named = options.config or os.environ.get(_FILE_VARIABLE)
    return Path(named) if named else None


def _configured(path: Path | None) -> tuple[str, ...]:
    found = read(Sources(path=path, environ={})).values.get(QUEUES, {}) if path else {}
    return tuple(found) if isinstance(found, dict) else ()
