"""What a server has to be like: a table of checks, each a pure judgement of what it tells.

To add one, write a function from `Facts` to a `Judgement` and put it into `CHECKS`. What the server
does not tell (managed ones forbid CONFIG) is `unknown`, never an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Status = Literal["ok", "warning", "error", "unknown"]

LEAST_VERSION = {"redis": (7, 0), "valkey": (7, 2)}
"""Given: functions that the scripts use, such as their flags, came with Redis 7.0."""

KNOWN_MAJORS = {"bullmq": {5, 6}, "toril": {0}}
"""Writers whose layout is known here."""

MAX_OFFSET_S = 1.0
"""Chosen: delays and ages that people read are told to the second."""

MAX_CLIENTS_SHARE = 0.8
"""Of the clients that a server takes; chosen: a restart of a fleet connects twice for a moment."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server tells.

    Attributes:
        info: fields of INFO; empty where it is forbidden.
        config: parameters of CONFIG; empty where it is forbidden.
        offset_s: its clock less ours; None where TIME is forbidden.
        versions: queue → the program that opened it last, such as `bullmq:6.7.0`.
    """

    info: Mapping[str, str]
    config: Mapping[str, str] = field(default_factory=dict)
    offset_s: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check found, and what to do about it."""

    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    name: str
    judge: Callable[[Facts], Judgement]


def _unknown(what: str) -> Judgement:
    return Judgement("unknown", f"the server does not tell {what}", "Ask who runs it")


def _version(facts: Facts) -> Judgement:
    kind = "valkey" if "valkey_version" in facts.info else "redis"
    kind = "valkey" if facts.info.get("server_name") == "valkey" else kind
    text = facts.info.get(f"{kind}_version") or facts.info.get("redis_version")
    numbers = re.match(r"(\d+)\.(\d+)", text or "")
    if numbers is None:
        return _unknown("its version")
    found = f"{kind.capitalize()} {text}"
    least = LEAST_VERSION[kind]
    if (int(numbers[1]), int(numbers[2])) >= least:
        return Judgement("ok", found)
    return Judgement("error", found, "Update it: Redis 7.0 and Valkey 7.2 are the oldest that work")


def _eviction(facts: Facts) -> Judgement:
    policy = facts.config.get("maxmemory-policy") or facts.info.get("maxmemory_policy")
    if policy is None:
        return _unknown("its maxmemory-policy")
    found = f"maxmemory-policy is {policy}"
    if policy == "noeviction":
        return Judgement("ok", found)
    limit = facts.config.get("maxmemory") or facts.info.get("maxmemory")
    remedy = (
        "Set it: redis-cli CONFIG SET maxmemory-policy noeviction, and in the server's "
        "configuration; else jobs vanish when memory is full"
    )
    return Judgement("warning" if limit == "0" else "error", found, remedy)


def _persistence(facts: Facts) -> Judgement:
    is_on = facts.info.get("aof_enabled") or facts.config.get("appendonly")
    if is_on is None:
        return _unknown("whether it writes an append-only file")
    if is_on in {"1", "yes"}:
        return _fsync(facts)
    snapshots = facts.config.get("save")
    found, lost = "no append-only file, snapshots at most", "all that came since its last snapshot"
    if snapshots == "":
        found, lost = "no append-only file, and no snapshots", "every job"
    remedy = f"Set appendonly yes; without it a crash of the server loses {lost}"
    return Judgement("warning", found, remedy)


def _fsync(facts: Facts) -> Judgement:
    when = facts.config.get("appendfsync", "not told how often")
    found = f"append-only file, fsync {when}"
    if when != "no":
        return Judgement("ok", found)
    remedy = "Set appendfsync everysec: a crash of the machine loses about half a minute else"
    return Judgement("warning", found, remedy)


def _role(facts: Facts) -> Judgement:
    role = facts.info.get("role")
    if role is None:
        return _unknown("its role")
    if role == "master":
        return Judgement("ok", "primary")
    return Judgement("error", f"role is {role}", "Use the address of the primary")


def _cluster(facts: Facts) -> Judgement:
    enabled = facts.info.get("cluster_enabled")
    if enabled is None:
        return _unknown("whether it is part of a cluster")
    if enabled == "0":
        return Judgement("ok", "a single server")
    return Judgement(
        "error", "part of a cluster", "Use a server that stands alone; clusters do not work yet"
    )


def _clients(facts: Facts) -> Judgement:
    most = facts.config.get("maxclients") or facts.info.get("maxclients")
    now = facts.info.get("connected_clients")
    if most is None or now is None or not int(most):
        return _unknown("how many clients it takes")
    found = f"{now} of {most} clients"
    if int(now) <= MAX_CLIENTS_SHARE * int(most):
        return Judgement("ok", found)
    return Judgement("warning", found, "Raise maxclients; further workers will be turned away")


def _idle(facts: Facts) -> Judgement:
    timeout = facts.config.get("timeout")
    if timeout is None:
        return _unknown("after how long it closes idle connections")
    if timeout == "0":
        return Judgement("ok", "idle connections stay open")
    return Judgement(
        "warning",
        f"idle connections are closed after {timeout} s",
        "Set timeout 0, so that workers need not connect again and again",
    )


def _clock(facts: Facts) -> Judgement:
    if facts.offset_s is None:
        return _unknown("its time")
    way = "ahead of" if facts.offset_s > 0 else "behind"
    found = f"{abs(facts.offset_s):.3f} s {way} this host's"
    if abs(facts.offset_s) < MAX_OFFSET_S:
        return Judgement("ok", found)
    return Judgement(
        "warning", found, "Run a time service on both hosts; Node producers use their own clock"
    )


def _writers(facts: Facts) -> Judgement:
    strangers = [
        f"{queue} by {version or 'nobody'}"
        for queue, version in sorted(facts.versions.items())
        if not _is_known(version)
    ]
    if not strangers:
        found = ", ".join(f"{queue}: {text or '-'}" for queue, text in facts.versions.items())
        return Judgement("ok", found or "no queue was looked at")
    remedy = "Write it with BullMQ 5 or 6, or this version of toril; other layouts are not known"
    return Judgement("warning", f"last opened: {', '.join(strangers)}", remedy)


def _is_known(version: str) -> bool:
    name, _, number = version.partition(":")
    major = number.partition(".")[0]
    kind = name.removesuffix("-pro")
    known = KNOWN_MAJORS.get(kind, set())
    return not version or (major.isdecimal() and int(major) in known)


CHECKS = (
    Check("version", _version),
    Check("eviction", _eviction),
    Check("persistence", _persistence),
    Check("role", _role),
    Check("cluster", _cluster),
    Check("clients", _clients),
    Check("idle connections", _idle),
    Check("clock", _clock),
    Check("writers", _writers),
)
