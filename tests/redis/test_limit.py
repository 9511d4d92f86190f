"""limit.lua: an operator's word applies at once, a configuration's only where it is newer."""

from __future__ import annotations

import pytest

from tests.support.keyspace import unchanged_keyspace
from toril.runtime.limiter import RateLimit, offer_limit, parse_limit, remove_limit, set_limit
from toril.runtime.scripts import script

BASE = "bull:mail:"
KEY = BASE + "toril:limit"
NOW_MS = 1_700_000_000_000


@pytest.fixture
def run(redis_client):
    def run(command, now_ms=NOW_MS):
        args = (now_ms, *command.args[1:])
        return command.parse(redis_client.eval(script("limit").text, 1, BASE, *args))

    return run


def stored(client):
    return {name.decode(): int(value) for name, value in client.hgetall(KEY).items()}


def test_a_first_limit_is_a_full_bucket(run, redis_client):
    assert run(set_limit(BASE, RateLimit(200, 60_000, 50))) == RateLimit(200, 60_000, 50)
    assert stored(redis_client) == {
        "tokens": 200,
        "per_us": 60_000_000,
        "burst": 50,
        "revision": 0,
        "level": 50 * 60_000_000,
        "at": NOW_MS * 1000,
    }


def test_an_offer_applies_where_nothing_is(run):
    assert run(offer_limit(BASE, RateLimit(1, 1000, 1))) == RateLimit(1, 1000, 1)
    assert run(offer_limit(BASE, None)) == RateLimit(1, 1000, 1)


def test_an_offer_of_the_same_revision_changes_nothing(run, redis_client):
    run(offer_limit(BASE, RateLimit(1, 1000, 1, revision=2)))
    with unchanged_keyspace(redis_client):
        in_force = run(offer_limit(BASE, RateLimit(9, 1000, 9, revision=2)))
    assert in_force == RateLimit(1, 1000, 1, revision=2)


def test_an_offer_of_a_higher_revision_applies(run):
    run(offer_limit(BASE, RateLimit(1, 1000, 1, revision=2)))
    newer = RateLimit(9, 1000, 9, revision=3)
    assert run(offer_limit(BASE, newer)) == newer


def test_an_operators_limit_keeps_the_revision_so_that_the_configuration_does_not_undo_it(run):
    run(offer_limit(BASE, RateLimit(1, 1000, 1, revision=2)))
    assert run(set_limit(BASE, RateLimit(9, 1000, 9))) == RateLimit(9, 1000, 9, revision=2)
    assert run(offer_limit(BASE, RateLimit(1, 1000, 1, revision=2))).tokens == 9


def test_a_new_limit_keeps_what_is_left_in_tokens_clipped_to_its_burst(run, redis_client):
    run(set_limit(BASE, RateLimit(10, 1000, 10)))
    redis_client.hset(KEY, "level", 4 * 1_000_000)
    run(set_limit(BASE, RateLimit(10, 60_000, 10)))
    assert stored(redis_client)["level"] == 4 * 60_000_000
    run(set_limit(BASE, RateLimit(10, 60_000, 3)))
    assert stored(redis_client)["level"] == 3 * 60_000_000


def test_what_was_refilled_meanwhile_counts(run, redis_client):
    run(set_limit(BASE, RateLimit(1, 1000, 10)))
    redis_client.hset(KEY, "level", 0)
    run(set_limit(BASE, RateLimit(1, 1000, 10)), now_ms=NOW_MS + 3000)
    assert stored(redis_client)["level"] == 3 * 1_000_000


def test_a_clock_that_goes_back_takes_nothing(run, redis_client):
    run(set_limit(BASE, RateLimit(1, 1000, 10)))
    redis_client.hset(KEY, "level", 2_000_000)
    run(set_limit(BASE, RateLimit(1, 1000, 10)), now_ms=NOW_MS - 60_000)
    assert stored(redis_client)["level"] == 2_000_000


def test_large_numbers_are_exact(run, redis_client):
    limit = RateLimit(150_000_000, 60_000, 150_000_000)
    assert run(set_limit(BASE, limit)) == limit
    assert stored(redis_client)["level"] == 150_000_000 * 60_000_000


def test_a_removed_limit_is_none(run, redis_client):
    run(set_limit(BASE, RateLimit(1, 1000, 1)))
    assert run(remove_limit(BASE)) is None
    assert redis_client.keys() == []
    assert run(offer_limit(BASE, None)) is None
    assert redis_client.keys() == []


def test_a_full_server_takes_a_limit(run, redis_client):
    redis_client.config_set("maxmemory", 1)
    try:
        assert run(set_limit(BASE, RateLimit(1, 1000, 1))) == RateLimit(1, 1000, 1)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert parse_limit([]) is None
