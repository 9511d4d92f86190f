"""The command line's parser: its own usage and sysexits codes, and flags that verbs share."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, NoReturn

REDIS_HELP = (
    "redis://, rediss:// or unix:// URL, or `embedded`; a password belongs into TORIL_REDIS_URL, "
    "command lines are public"
)


class Parser(argparse.ArgumentParser):
    """A parser, of toril or of one verb, that answers with its own usage and EX_USAGE."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is not known, with the usage of the verb it was given to."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown flags or words: {' '.join(unknown)}")
        return found, unknown


def add_server_flags(parser: Parser) -> None:
    """Which server, which keys, and the file that may say so."""
    add = parser.add_argument
    add("--redis", metavar="URL", help=f"{REDIS_HELP}; default: TORIL_REDIS_URL, then the file's")
    add("--prefix", help="key prefix; default: the file's, then bull")
    add("--config", metavar="FILE", help="default: toril.toml or pyproject.toml, if it is there")
