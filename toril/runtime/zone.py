"""Time zones by the names that BullMQ's luxon takes; the data is this machine's, else tzdata's."""

from __future__ import annotations

import os
import re
from datetime import UTC, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

if TYPE_CHECKING:
    from datetime import tzinfo

_OURS = {"local", "system", "default"}
"""Names of this machine's zone; given by luxon."""

_FIXED = re.compile(r"utc(?:([+-]\d{1,2})(?::(\d{2}))?)?")
"""A zone of one offset, such as `UTC+2` and `utc-03:30`; given by luxon."""

_LOCAL_ZONE = Path("/etc/localtime")


def zone_of(name: str | None) -> tzinfo:
    """The zone of this name, in capitals or not; this machine's, as Node takes it, where none is.

    Raises:
        ValueError: no zone of this name.
    """
    wish = (name or "local").lower()
    try:
        if wish in _OURS:
            return _local_zone()
        if (fixed := _FIXED.fullmatch(wish)) is not None:
            return _fixed_zone(*fixed.groups(default="0"))
        return ZoneInfo(_names().get(wish, wish))
    except (ValueError, OSError, LookupError):
        raise ValueError(f"time zone {name!r} is not known here") from None


def _fixed_zone(hours: str, minutes: str) -> tzinfo:
    sign = -1 if hours.startswith("-") else 1
    return timezone(timedelta(hours=int(hours), minutes=sign * int(minutes)))


@cache
def _names() -> dict[str, str]:
    """Names in small letters → as they are written; read once, in some ten milliseconds."""
    return {name.lower(): name for name in available_timezones()}


@cache
def _local_zone() -> tzinfo:
    if name := os.environ.get("TZ", "").lstrip(":"):
        return ZoneInfo(name)
    if not _LOCAL_ZONE.exists():
        return UTC
    with _LOCAL_ZONE.open("rb") as file:
        return ZoneInfo.from_file(file)
