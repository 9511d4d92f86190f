"""`toril run`: settings become a supervisor."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from toril.cli.sources import sources_of
from toril.events import VariablesUnset
from toril.journal import SOCKET
from toril.log import Log
from toril.supervisor.config.load import load
from toril.supervisor.service.notify import is_journal
from toril.supervisor.supervisor import supervise

if TYPE_CHECKING:
    import argparse

    from toril.log_settings import LogSettings
    from toril.supervisor.settings import Settings


def main(options: argparse.Namespace) -> int:
    """Run a supervisor with these settings to its end."""
    settings = settings_of(options)
    with Log(sys.stderr, told_of(settings, options), journal=_journal()) as log:
        for queue in settings.queues:
            if unset := tuple(name for name in queue.allow.env if name not in os.environ):
                log(VariablesUnset(queue.name, unset))
        code, reason = supervise(settings, log, lambda: settings_of(options))
        if reason:
            log.say(f"toril run: {reason}")
    return code


def told_of(settings: Settings, options: argparse.Namespace) -> LogSettings:
    """What the log is told; `--json` wins over a format in a file."""
    return replace(settings.log, format="json") if options.json else settings.log


def _journal() -> str:
    """The journal's socket, where standard error is connected to the journal."""
    try:
        fd = sys.stderr.fileno()
    except (OSError, ValueError):
        return ""
    return SOCKET if is_journal(fd, os.environ) else ""


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that a command line means.

    Raises:
        InvalidInput: a value cannot be used; nothing was started.
    """
    loaded = load(sources_of(options))
    return replace(loaded.settings, until_empty=options.until_empty)
