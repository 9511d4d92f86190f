"""What the small verbs write is what the schema promises."""

from __future__ import annotations

import pytest

from tests.support.command import Command

pytestmark = pytest.mark.servers("valkey")


@pytest.fixture
def toril(capsys, redis_url):
    return Command(capsys, redis_url)


def test_an_added_job_is_told_by_its_id(toril):
    assert toril("add", "q", "a", "--json").records("add") == [{"id": "1"}]


def test_settings_are_told_with_their_origin(toril):
    words = ("config", "show", "--json", "--queue", "q", "--processor", "a:b")
    (found,) = toril(*words).records("config show")
    assert found["redis"]["origin"] == "--redis"


def test_levels_and_mechanisms_are_told(toril):
    (found,) = toril.alone("doctor", "--json").records("doctor")
    assert found["levels"]["process"] is True
    assert found["mechanisms"]
