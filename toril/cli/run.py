"""`toril run`: settings become a supervisor."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from toril.cli.sources import sources_of
from toril.events import VariablesUnset
from toril.log import Log
from toril.supervisor.config.load import load
from toril.supervisor.supervisor import supervise

if TYPE_CHECKING:
    import argparse

    from toril.supervisor.settings import Settings


def main(options: argparse.Namespace) -> int:
    """Run a supervisor with these settings to its end."""
    settings = settings_of(options)
    with Log(as_json=options.json) as log:
        for queue in settings.queues:
            if unset := tuple(name for name in queue.allow.env if name not in os.environ):
                log(VariablesUnset(queue.name, unset))
        code, reason = supervise(settings, log, lambda: settings_of(options))
        if reason:
            log.say(f"toril run: {reason}")
    return code


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that a command line means.

    Raises:
        InvalidInput: a value cannot be used; nothing was started.
    """
    loaded = load(sources_of(options))
    return replace(loaded.settings, until_empty=options.until_empty)
