"""What bounds a worker, told from shares of its processes: pure, and read from results as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = 0.85
"""Chosen: a loop that is measured at this share of a core has next to nothing left; the rest goes
to the moments between a wake-up and its turn."""

SHARES = ("children busy", "server core", "supervisor core", "all cores")
"""Measures that `limit_of` reads, in its order: shares of 1."""

_WORDS = {
    "children busy": "children: all at work",
    "server core": "server: its one core",
    "supervisor core": "supervisor: its one core",
    "all cores": "this machine's cores",
}


def limit_of(shares: Mapping[str, float]) -> str:
    """The first thing that is used up, or round trips: everybody waits for somebody."""
    return next((_WORDS[one] for one in SHARES if shares.get(one, 0) >= FULL), "round trips: idle")
