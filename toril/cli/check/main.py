"""`toril check`: everything that is wrong, before anything is started, each with its remedy."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from toril.cli.check.facts import facts_of
from toril.cli.check.imports import what_fails, words_of
from toril.cli.check.server import CHECKS
from toril.cli.output import put, put_json, say, visible_lines
from toril.cli.records import Finding
from toril.cli.sources import sources_of
from toril.errors import InvalidInput, InvalidSettings, RedisRefused, RedisUnavailable
from toril.supervisor.config.load import Server, load, load_server
from toril.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from toril.supervisor.config.load import Sources
    from toril.supervisor.settings import Settings

_MARKS = {"ok": "ok", "warning": "WARNING", "error": "ERROR", "unknown": "unknown"}


def main(options: argparse.Namespace) -> int:
    """Tell each finding as it is found.

    Returns:
        EX_CONFIG for what is wrong here, EX_UNAVAILABLE for what is wrong with the server.
    """
    failed = set()
    warnings = 0
    for finding in findings(options):
        if options.json:
            put_json(finding)
        else:
            _show(finding)
        warnings += finding.status == "warning"
        if finding.status == "error":
            failed.add(finding.group)
    if failed:
        say(f"toril check: cannot be run as it stands: {', '.join(sorted(failed))}")
        return os.EX_UNAVAILABLE if failed == {"server"} else os.EX_CONFIG
    if warnings:
        say(f"toril check: {warnings} warning{'s' * (warnings > 1)}")
    return os.EX_OK


def findings(options: argparse.Namespace) -> Iterator[Finding]:
    """Everything, in the order in which it is looked at."""
    try:
        sources = sources_of(options)
    except InvalidInput as error:
        yield Finding("configuration", "settings", "error", str(error), "")
        return
    try:
        loaded = load(sources)
    except InvalidInput as error:
        problems = error.problems if isinstance(error, InvalidSettings) else (str(error),)
        for problem in problems:
            yield Finding("configuration", "settings", "error", problem, "")
        yield from _server_alone(sources)
        return
    settings = loaded.settings
    names = ", ".join(queue.name for queue in settings.queues)
    where = f" ({loaded.path})" if loaded.path else ""
    yield Finding("configuration", "settings", "ok", f"queues: {names}{where}", "")
    yield from _imports(settings)
    server = Server(settings.redis, settings.prefix)
    yield from _server(server, [queue.name for queue in settings.queues])


def _imports(settings: Settings) -> Iterator[Finding]:
    for (queue, what), error in what_fails(settings.queues).items():
        name = f"{what} of {queue}"
        if error is None:
            yield Finding("imports", name, "ok", "can be imported, and a child comes up", "")
        else:
            yield Finding("imports", name, "error", words_of(error), error.remedy)


def _server_alone(sources: Sources) -> Iterator[Finding]:
    """The server's checks where all else is wrong but what is said of the server."""
    with suppress(InvalidInput):
        yield from _server(load_server(sources), [])


def _server(server: Server, queues: list[str]) -> Iterator[Finding]:
    try:
        facts = facts_of(server, queues)
    except (RedisUnavailable, RedisRefused) as error:
        yield Finding("server", "answers", "error", str(error), "")
        return
    for check in CHECKS:
        found = check.judge(facts)
        yield Finding("server", check.name, found.status, found.found, found.remedy)


def _show(finding: Finding) -> None:
    first, *more = visible_lines(finding.found).split("\n")
    put(f"{_MARKS[finding.status]:<8} {visible(finding.check)}: {first}")
    for line in more:
        put(f"{'':<9}{line}")
    if finding.remedy and finding.status != "ok":
        put(f"{'':<9}remedy: {visible(finding.remedy)}")
