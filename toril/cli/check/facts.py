"""Asks a server for what the checks judge."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from toril.cli.check.server import Facts
from toril.errors import RedisRefused
from toril.runtime.dialog import Program, plain, send
from toril.runtime.drivers import BlockingDriver
from toril.runtime.inspecting import get_meta
from toril.runtime.keys import key_base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toril.supervisor.config.load import Server

_PARAMETERS = (
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "maxclients",
    "timeout",
)


def facts_of(server: Server, queues: Iterable[str]) -> Facts:
    """What a server tells, as far as it is allowed.

    Raises:
        RedisUnavailable: it cannot be reached.
        RedisRefused: it refuses the login, or a queue's keys are of the wrong type.
    """
    with closing(BlockingDriver(server.url)) as driver:
        info, config = driver.run(_told())
        versions = {
            name: driver.run(get_meta(key_base(server.prefix, name))).version for name in queues
        }
        return Facts(info, config, _offset_s(driver), versions)


def _told() -> Program[tuple[dict[str, str], dict[str, str]]]:
    info, *config = yield from send([("INFO",), *(("CONFIG", "GET", name) for name in _PARAMETERS)])
    found: dict[str, str] = {}
    for reply in config:
        if not isinstance(reply, Exception) and reply:
            name, value = (_text(one) for one in reply[:2])
            found[name] = value
    if isinstance(info, Exception):
        return {}, found
    lines = (line.partition(":") for line in _text(info).splitlines())
    return {name: value for name, colon, value in lines if colon}, found


def _offset_s(driver: BlockingDriver) -> float | None:
    """Its clock less ours, as of the middle of the exchange."""
    try:
        before_s = time.time()
        ((seconds, microseconds),) = driver.run(plain(("TIME",)))
        after_s = time.time()
    except RedisRefused:
        return None
    return int(seconds) + int(microseconds) / 1e6 - (before_s + after_s) / 2


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
