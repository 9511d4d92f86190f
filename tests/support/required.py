"""Skips that CI makes failures: `TORIL_REQUIRE=redis7,interop,systemd` names what must be there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(what: str, reason: str) -> NoReturn:
    """Skip the test with `reason`, or fail it when `TORIL_REQUIRE` lists `what`."""
    required = {name.strip() for name in os.environ.get("TORIL_REQUIRE", "").split(",")}
    if what in required:
        pytest.fail(f"{reason}, and TORIL_REQUIRE lists {what}", pytrace=False)
    pytest.skip(reason)
