"""How Redis is reached: URLs as redis-py takes them, connection pools, and its errors as ours.

Every connection of the house is made here, with redis-py's own retries off: it cannot know what
may be sent twice. A change must keep: no message and no representation shows a password.
"""

from __future__ import annotations

import errno
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import parse_url as parse_async_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from toril.errors import InvalidOption, RedisRefused, RedisUnavailable, TorilError

SOCKET_TIMEOUT_S = 5.0
"""Longest wait for a connection or a reply; chosen: scripts take milliseconds. A URL's
`socket_timeout` and `socket_connect_timeout` win."""

MAX_SLICE_MS = 2000
"""Longest block of one producer's command; chosen: short enough to notice what leaves no event."""

MAX_CONNECTIONS = 2**31
"""No bound of our own: whoever calls from n threads wants n connections."""

_KNOWN: tuple[tuple[tuple[type[Exception], ...], type[TorilError], str, str], ...] = (
    (
        (NoPermissionError,),
        RedisRefused,
        "does not permit this to the user",
        "Its ACL has to allow the queue's keys, EVALSHA, SCRIPT LOAD and what the scripts call",
    ),
    (
        (AuthenticationError, AuthorizationError),
        RedisRefused,
        "refuses the login",
        "Check user and password of the URL",
    ),
    (
        (OutOfMemoryError,),
        RedisUnavailable,
        "is out of memory and takes nothing new",
        "Raise its maxmemory, or remove finished jobs",
    ),
    (
        (ReadOnlyError,),
        RedisUnavailable,
        "is a read-only replica",
        "Use the address of the primary",
    ),
    ((redis.TimeoutError,), RedisUnavailable, "did not answer in time", "It may be overloaded"),
    (
        (ClusterDownError, MasterDownError, TryAgainError),
        RedisUnavailable,
        "has no working primary now",
        "It may come back by itself",
    ),
)
"""redis-py's exceptions, most special first: ours, what happened, what to do."""

_PASSING_CODES = (
    "BUSY ",
    "MISCONF ",
    "NOREPLICAS ",
    "MASTERDOWN ",
    "LOADING ",
    "OOM ",
    "READONLY ",
)
"""Codes of replies that another try may not get; redis-py has no classes for all of them."""

_UNREADABLE = (
    "redis URL cannot be read; expected redis://user:password@host:port/db with numbers for port "
    "(up to 65535) and db, and %23 %2F %3A %40 for # / : @ in the password"
)
# A URL's own text is never quoted: after an unescaped `#` or `/` it holds part of the password.

_DATABASE = re.compile(r"/?[0-9]*/?")
_IN_SCRIPT = re.compile(r"\s*script:(?: [0-9a-f]{40},)? on @user_script:\d+")
_LOCAL = re.compile(r"rediss?://(?:localhost|127\.[0-9.]+|\[::1\]):")


def open_pool(url: str, *, client_name: str | None = None) -> redis.ConnectionPool:
    """A pool of blocking connections; nothing is connected yet.

    Raises:
        InvalidOption: a URL that redis-py cannot use.
    """
    options = _options(url, parse_url, Retry(NoBackoff(), 0), client_name)
    pool = redis.ConnectionPool(**options)
    _check_options(pool, url)
    return pool


def open_async_pool(url: str, *, client_name: str | None = None) -> redis.asyncio.ConnectionPool:
    """A pool of asyncio connections; nothing is connected yet.

    Raises:
        InvalidOption: a URL that redis-py cannot use.
    """
    options = _options(url, parse_async_url, AsyncRetry(NoBackoff(), 0), client_name)
    pool = redis.asyncio.ConnectionPool(**options)
    _check_options(pool, url)
    return pool


def server_name(url: str) -> str:
    """Which server a URL means, for messages: scheme, address and database, never a password.

    Raises:
        InvalidOption: it cannot be read as a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        raise InvalidOption(_UNREADABLE) from None
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = parts.hostname or "localhost"
    address = f"[{host}]" if ":" in host else host
    database = parts.path if re.fullmatch("/[0-9]+", parts.path) else ""
    return f"{parts.scheme}://{address}:{port}{database}"


def has_login(url: str) -> bool:
    """Does the URL carry a user or a password, in its address or among its options?"""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "@" in url
    options = parse_qs(parts.query, keep_blank_values=True)
    return "@" in parts.netloc or any("password" in name or name == "username" for name in options)


def slice_ms(pool: redis.ConnectionPool | redis.asyncio.ConnectionPool) -> int:
    """Longest block of one command that leaves the socket's timeout room for the reply."""
    socket_timeout_s: float | None = pool.connection_kwargs.get("socket_timeout")
    if not socket_timeout_s:
        return MAX_SLICE_MS
    return max(1, min(MAX_SLICE_MS, round(socket_timeout_s * 500)))


def translated(error: Exception, server: str) -> TorilError:
    """Our exception for one of redis-py's: one that may pass, or one that would come again.

    Args:
        error: what redis-py raised.
        server: from `server_name`.

    Returns:
        `RedisUnavailable` or `RedisRefused`.
    """
    # The asyncio side wraps whatever went wrong while connecting into a ConnectionError.
    if isinstance(error.__cause__, redis.RedisError):
        error = error.__cause__
    text = _IN_SCRIPT.sub("", str(error)).strip().rstrip(".")
    for kinds, verdict, what, remedy in _KNOWN:
        if isinstance(error, kinds):
            return verdict(f"Redis at {server} {what}: {text}. {remedy}")
    if isinstance(error, redis.ConnectionError | OSError) or text.startswith(_PASSING_CODES):
        return RedisUnavailable(f"Redis at {server} cannot be used now: {_why(error, server)}")
    remedy = (
        "Something else wrote a key of this queue: look at the types of its keys (redis-cli TYPE), "
        "or use another prefix"
        if text.startswith("WRONGTYPE ")
        else "Its log may say more"
    )
    return RedisRefused(f"Redis at {server} refused a command: {text}. {remedy}")


def _why(error: Exception, server: str) -> str:
    """Why there is no connection, without the address, and what to do if nothing listens."""
    text = str(error).strip().rstrip(".")
    if " connecting to " not in text:
        return text
    origin: BaseException | None = error
    while origin is not None and not isinstance(origin, OSError):
        origin = origin.__cause__ or origin.__context__
    if _is_refused(origin):
        hint = " To try things out without a server: --redis embedded"
        return f"connection refused. Is it running there?{hint if _LOCAL.match(server) else ''}"
    if isinstance(origin, FileNotFoundError):
        return "there is no such socket. Is it running there?"
    return (origin and origin.strerror) or text


def _is_refused(error: BaseException | None) -> bool:
    # With several addresses (::1 and 127.0.0.1) asyncio joins their errors into one text.
    return isinstance(error, ConnectionRefusedError) or (
        error is not None and f"[Errno {errno.ECONNREFUSED}]" in str(error)
    )


def _options(url: str, parse: Any, retry: Any, client_name: str | None) -> dict[str, Any]:
    options = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "max_connections": MAX_CONNECTIONS,
        **_parsed(url, parse),
        "decode_responses": False,
        "encoding": "utf-8",
        # Ids of foreign programs may hold any bytes: they go back as they came.
        "encoding_errors": "surrogateescape",
        "protocol": 2,
        "retry": retry,
        "retry_on_timeout": False,
    }
    return options if client_name is None else options | {"client_name": client_name}


def _check_options(pool: Any, url: str) -> None:
    """Make a connection for its checks and throw it away: what it does not know is found here."""
    try:
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidOption(f"redis URL for {server_name(url)} cannot be used: {error}") from None


def _parsed(url: str, parse: Any) -> dict[str, Any]:
    if not isinstance(url, str) or not url.startswith(("redis://", "rediss://", "unix://")):
        raise InvalidOption(
            "redis is not a URL that can be used; expected redis://host:6379/0, "
            "rediss://host:6379/0 (TLS), unix:///path/to/socket, or 'embedded'"
        )
    server_name(url)
    try:
        options: dict[str, Any] = parse(url)
    except ValueError:
        raise InvalidOption(_UNREADABLE) from None
    if not url.startswith("unix://") and not _DATABASE.fullmatch(urlsplit(url).path):
        raise InvalidOption(
            "redis URL does not name its database by a number; expected redis://host:port/db, "
            "such as redis://localhost:6379/0"
        )
    if url.startswith("unix://") and not options.get("path"):
        raise InvalidOption("redis URL unix:// names no socket; expected unix:///path/to/socket")
    return options
