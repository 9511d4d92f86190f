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
    has_login,
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
        "redis://localhost:99999",
        "redis://localhost/s3cret",
        "redis://localhost/1/2",
        "redis://[::1",
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


@pytest.mark.parametrize(
    "url", ["redis://localhost:99999", "redis://:s3#cret@host", "redis://[::1"]
)
def test_a_server_that_cannot_be_named_is_a_clear_refusal(url):
    with pytest.raises(InvalidOption, match="65535") as caught:
        server_name(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h", "redis://h/", "redis://h/7", "rediss://h:1/0/"])
def test_a_database_is_a_number_or_left_out(url):
    open_pool(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p@h",
        "redis://u@h",
        "redis://h?password=p",
        "redis://h?db=1&username=u",
        "redis://h?pass%77ord=p",
        "rediss://h?ssl_password=p",
        "unix:///run/s?password=p",
        "unix://u:p@/run/s",
        "redis://u:p@[::1",
    ],
)
def test_a_login_is_found_wherever_a_url_can_hold_one(url):
    assert has_login(url)


@pytest.mark.parametrize("url", ["redis://h:1/2", "unix:///run/s?db=1", "embedded"])
def test_a_url_without_a_login_has_none(url):
    assert not has_login(url)


@pytest.mark.parametrize("url", ["redis://localhost:1", "redis://127.0.0.1:1"])
async def test_a_refused_connection_says_what_to_do_and_names_the_address_once(url):
    texts = []
    with redis.Redis.from_pool(open_pool(url)) as client, pytest.raises(redis.RedisError) as caught:
        client.ping()
    texts.append(str(translated(caught.value, server_name(url))))
    async with redis.asyncio.Redis.from_pool(open_async_pool(url)) as asking:
        with pytest.raises(redis.RedisError) as caught:
            await asking.ping()
    texts.append(str(translated(caught.value, server_name(url))))
    for text in texts:
        assert "connection refused" in text
        assert "--redis embedded" in text
        assert text.count(":1") == 1
        assert "111" not in text


def test_a_missing_socket_is_named_once():
    client = redis.Redis.from_pool(open_pool("unix:///no/s"))
    with client, pytest.raises(redis.RedisError) as caught:
        client.ping()
    text = str(translated(caught.value, "unix:///no/s"))
    assert text.count("/no/s") == 1
    assert "no such socket" in text


def test_an_error_of_a_script_is_told_without_the_scripts_line():
    sha = "0123456789abcdef" * 2 + "01234567"
    text = f"WRONGTYPE Operation against a key script: {sha}, on @user_script:44."
    told = str(translated(redis.ResponseError(text), "redis://h:1"))
    assert "script:" not in told
    assert "user_script" not in told
    assert "another prefix" in told
