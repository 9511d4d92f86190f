"""The command line's parser: its own usage and sysexits codes, and flags that verbs share."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Verbs = argparse._SubParsersAction["Parser"]  # noqa: SLF001 - it has no public name

REDIS_HELP = (
    "redis://, rediss:// or unix:// URL, or `embedded`; a password belongs into TORIL_REDIS_URL, "
    "command lines are public"
)


class UsageError(Exception):
    """A command line that does not say enough, or says too much."""


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


def add_bulk_flags(parser: Parser) -> None:
    """For what changes many jobs."""
    add = parser.add_argument
    add("--dry-run", action="store_true", help="change nothing; tell how many, and some of them")
    add("--yes", action="store_true", help="do not ask; needed where there is no terminal")


@dataclass(frozen=True, slots=True)
class Action:
    """What a verb can do.

    Attributes:
        name: its word.
        help: one line.
        example: the words behind `toril VERB`.
        add_to: adds its arguments.
    """

    name: str
    help: str
    example: str
    add_to: Callable[[Parser], None]


class Actions:
    """Gives a verb its actions, each with a parser and an example of its own."""

    def __init__(self, verb: Parser) -> None:
        self._verb = verb
        self._actions = verb.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add_all(self, actions: Iterable[Action]) -> None:
        """Let the verb know them."""
        for action in actions:
            parser = self._actions.add_parser(
                action.name,
                help=action.help,
                description=f"{action.help[0].upper()}{action.help[1:]}.",
                epilog=f"example: {self._verb.prog} {action.example}",
            )
            action.add_to(parser)
