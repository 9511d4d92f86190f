"""`QueueEvents` and `AsyncQueueEvents`: a queue's events as they come, in order, each once.

A reader knows the id of the last entry it has read, and goes on from there after every outage. A
change must keep: the first read begins at a fixed id, never at "whatever comes next", or an outage
at the start would lose events.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.errors import InvalidOption, RedisUnavailable
from toril.runtime.connection import server_name
from toril.runtime.dialog import Pause, Program, plain
from toril.runtime.drivers import AsyncDriver, BlockingDriver
from toril.runtime.embedded import url_of
from toril.runtime.keys import DEFAULT_PREFIX, client_name, key_base
from toril.runtime.queue_events import QueueEvent, parse_event
from toril.runtime.waiting import Entry, entry_order, read_entries
from toril.units import duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

DEFAULT_REDIS = "redis://localhost"

_RECONNECT_S = 0.2
_ENTRY_ID = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")
"""Source: Redis' XREAD; nineteen digits hold every time and number that fits into 64 bits."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a program of a reader has to know.

    Attributes:
        base: `P:Q:`.
        patience_s: how long Redis may be away; None for ever.
        slice_ms: longest block of one command.
        is_open: asked before every read.
        clock: seconds, monotonic.
    """

    base: str
    patience_s: float | None
    slice_ms: int
    is_open: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic


def last_id(base: str) -> Program[str]:
    """The id of the newest entry; 0-0 of an empty stream.

    Raises:
        RedisUnavailable: Redis could not be reached.
        RedisRefused: it does not let us read.
    """
    (entries,) = yield from plain(("XREVRANGE", f"{base}events", "+", "-", "COUNT", 1))
    newest: bytes = entries[0][0] if entries else b"0-0"
    return newest.decode()


def next_entries(following: Following, cursor: str) -> Program[tuple[str, list[Entry]]]:
    """The entries after `cursor`, as soon as there are some; none when the reader was closed.

    A stream that went back (Redis came up without its newest data) is followed from where it is.

    Returns:
        How far the stream has been read, and the entries.

    Raises:
        RedisUnavailable: Redis was away for longer than the reader's patience.
        RedisRefused: it does not let us read.
    """
    away_s: float | None = None
    while following.is_open():
        try:
            entries = yield from read_entries(following.base, cursor, following.slice_ms)
            away_s = None
            if entries:
                return entries[-1].id, entries
            newest = yield from last_id(following.base)
            if entry_order(newest) < entry_order(cursor):
                cursor = newest
        except RedisUnavailable:
            away_s = following.clock() if away_s is None else away_s
            limit_s = following.patience_s
            if limit_s is not None and following.clock() - away_s >= limit_s:
                raise
            yield Pause(_RECONNECT_S)
    return cursor, []


class QueueEvents:
    """The events of a queue, for `for event in events`; one thread reads.

    Args:
        name: the queue's name.
        redis: as for `Queue`.
        prefix: as for `Queue`.
        last_event_id: go on after this event; without it from the moment of `open`, of entering
            `with`, or of the first read. `"0-0"` begins with the oldest that is still there.
        patience: how long Redis may be away before an iteration raises `RedisUnavailable`; for
            ever unless given. Iterating again goes on where it was.

    Attributes:
        last_event_id: of the last event that was handed out: to go on from there later, or in
            another process. Empty until it is known where to begin.

    Raises:
        InvalidInput: a name, URL, id or duration that cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: str = DEFAULT_REDIS,
        prefix: str = DEFAULT_PREFIX,
        last_event_id: str = "",
        patience: str | timedelta | None = None,
    ) -> None:
        self.name = name
        self.last_event_id = _checked_id(last_event_id)
        base, patience_s, url = key_base(prefix, name), _seconds(patience), url_of(redis)
        self._server = server_name(url)
        self._driver = BlockingDriver(url, client_name=f"{client_name(prefix, name)}:qe")
        self._is_open, self._is_reading = True, False
        self._following = Following(base, patience_s, self._driver.slice_ms, lambda: self._is_open)
        self._read: deque[Entry] = deque()
        self._cursor = self.last_event_id

    def open(self) -> Self:
        """Fix where to begin: what happens from now on is seen.

        Raises:
            RedisUnavailable: Redis could not be reached.
        """
        if not self._cursor:
            self._cursor = self._driver.run(last_id(self._following.base))
            self.last_event_id = self._cursor
        return self

    def close(self) -> None:
        """End the iteration; one that blocks in another thread ends within two seconds."""
        self._is_open = False
        if not self._is_reading:
            self._driver.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> QueueEvent:
        if not self._read and self._is_open:
            self._read_on()
        if not self._read or not self._is_open:
            raise StopIteration
        entry = self._read.popleft()
        self.last_event_id = entry.id
        return parse_event(entry.id, entry.fields)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"QueueEvents({self.name!r}, redis={self._server!r})"

    def _read_on(self) -> None:
        self._is_reading = True
        try:
            self.open()
            self._cursor, entries = self._driver.run(next_entries(self._following, self._cursor))
            self._read.extend(entries)
        finally:
            self._is_reading = False
            if not self._is_open:
                self._driver.close()


class AsyncQueueEvents:
    """The events of a queue, for `async for event in events`; as `QueueEvents`, for one task."""

    def __init__(
        self,
        name: str,
        *,
        redis: str = DEFAULT_REDIS,
        prefix: str = DEFAULT_PREFIX,
        last_event_id: str = "",
        patience: str | timedelta | None = None,
    ) -> None:
        self.name = name
        self.last_event_id = _checked_id(last_event_id)
        base, patience_s, url = key_base(prefix, name), _seconds(patience), url_of(redis)
        self._server = server_name(url)
        self._driver = AsyncDriver(url, client_name=f"{client_name(prefix, name)}:qe")
        self._is_open, self._is_reading = True, False
        self._following = Following(base, patience_s, self._driver.slice_ms, lambda: self._is_open)
        self._read: deque[Entry] = deque()
        self._cursor = self.last_event_id

    async def open(self) -> Self:
        """Fix where to begin; see `QueueEvents.open`."""
        if not self._cursor:
            self._cursor = await self._driver.run(last_id(self._following.base))
            self.last_event_id = self._cursor
        return self

    async def close(self) -> None:
        """End the iteration; one that waits in another task ends within two seconds."""
        self._is_open = False
        if not self._is_reading:
            await self._driver.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> QueueEvent:
        if not self._read and self._is_open:
            await self._read_on()
        if not self._read or not self._is_open:
            raise StopAsyncIteration
        entry = self._read.popleft()
        self.last_event_id = entry.id
        return parse_event(entry.id, entry.fields)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncQueueEvents({self.name!r}, redis={self._server!r})"

    async def _read_on(self) -> None:
        self._is_reading = True
        try:
            await self.open()
            program = next_entries(self._following, self._cursor)
            self._cursor, entries = await self._driver.run(program)
            self._read.extend(entries)
        finally:
            self._is_reading = False
            if not self._is_open:
                await self._driver.close()


def _seconds(patience: str | timedelta | None) -> float | None:
    return None if patience is None else duration_ms(patience, "patience") / 1000


def _checked_id(last_event_id: str) -> str:
    is_text = isinstance(last_event_id, str)
    if not is_text or (last_event_id and not _ENTRY_ID.fullmatch(last_event_id)):
        raise InvalidOption(
            f"last_event_id is {last_event_id!r}; expected the id of an event, such as "
            "'1750000000000-0', or '0-0' for all that are there"
        )
    return last_event_id
