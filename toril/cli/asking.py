"""Asking before much is changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from toril.cli.output import say
from toril.cli.parser import UsageError
from toril.visible import visible

if TYPE_CHECKING:
    import argparse

DECLINED = 1
"""Exit code: somebody was asked and did not say yes."""


def has_terminal() -> bool:
    """Is there somebody to ask?"""
    return sys.stdin.isatty() and sys.stderr.isatty()


def need_terminal(options: argparse.Namespace) -> None:
    """Refuse what would have to be asked where nobody can be.

    Raises:
        UsageError: no terminal and no `--yes`.
    """
    if not (options.yes or options.dry_run or has_terminal()):
        raise UsageError(
            "this changes many jobs and there is no terminal to ask on; look at it with --dry-run, "
            "then give --yes"
        )


def is_wanted(question: str) -> bool:
    """Ask; whatever is not yes is no, and is told."""
    sys.stderr.write(f"{visible(question)} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip().lower()
    if answer in {"y", "yes"}:
        return True
    say("nothing was changed")
    return False
