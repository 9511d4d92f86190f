"""URLs, and redis-py's errors as ours: which server, never the password."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

from toril.errors import InvalidOption, RedisRefused, RedisUnavailable
from toril.runtime.connection import (
    open_async_pool,
    open_pool,
    server_name,
    slice_ms,
    translated,
)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "redis://localhost:6379"),
        ("redis://:s3cret@example.org:7/2", "redis://example.org:7/2"),
        ("rediss://user:s3cret@[::1]:7/0?ssl_cert_reqs=none", "rediss://[::1]:7/0"),
        ("unix://user:s3cret@/run/r.sock?db=3", "unix:///run/r.sock"),
        ("redis://host/s3cret", "redis://host:6379"),
    ],
)
def test_a_server_is_named_without_its_password(url, name):
    assert server_name(url) == name


@pytest.mark.parametrize("opened", [open_pool, open_async_pool])
@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        "localhost:6379",
        "http://s3cret",
        "unix://",
        "redis://:s3#cret@host",
        "redis://:s3/cret@host",
        "redis://host:port",
        "redis://:s3cret@host?db=x",
        "redis://:s3cret@host?no_such_option=1",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(opened, url):
    with pytest.raises(InvalidOption) as caught:
        opened(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("opened", [open_pool, open_async_pool])
def test_what_we_rely_on_cannot_be_changed_by_a_url(opened):
    pool = opened(
        "redis://h?decode_responses=true&protocol=3&retry_on_timeout=true&socket_timeout=1"
    )
    options = pool.connection_kwargs
    assert (options["decode_responses"], options["protocol"]) == (False, 2)
    assert options["retry_on_timeout"] is False
    assert options["retry"]._retries == 0
    assert options["socket_timeout"] == 1.0


def test_a_blocking_command_ends_before_the_socket_does():
    assert slice_ms(open_pool("redis://h")) == 2000
    assert slice_ms(open_pool("redis://h?socket_timeout=1")) == 500
    assert slice_ms(open_pool("redis://h?socket_timeout=0.001")) == 1


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Connection refused."),
        redis.TimeoutError("Timeout reading"),
        OSError("no route"),
        BusyLoadingError("loading"),
        ReadOnlyError("You can't write against a read only replica."),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.ResponseError("BUSY Redis is busy running a script."),
    ],
)
def test_what_may_pass_is_unavailable_and_names_the_server(error):
    ours = translated(error, "redis://h:1")
    assert isinstance(ours, RedisUnavailable)
    assert "redis://h:1" in str(ours)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("invalid username-password pair"),
        NoPermissionError("this user has no permissions to run the 'evalsha' command"),
        redis.ResponseError("WRONGTYPE Operation against a key"),
    ],
)
def test_what_would_come_again_is_refused_and_names_the_server(error):
    ours = translated(error, "redis://h:1")
    assert isinstance(ours, RedisRefused)
    assert "redis://h:1" in str(ours)
