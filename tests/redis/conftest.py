"""Fixtures of the script tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.lane import Lane

if TYPE_CHECKING:
    import redis


@pytest.fixture
def lane(redis_client: redis.Redis) -> Lane:
    """An empty queue."""
    return Lane(redis_client)
