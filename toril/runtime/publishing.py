"""`QueueEventsProducer` and its asyncio twin: events of a caller's own in a queue's stream.

A change must keep: nothing gets into the stream that would stop a reader of BullMQ, or that
somebody could take for an event of the queue itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from toril.errors import InvalidInput, InvalidOption
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.connection import server_name
from toril.runtime.drivers import AsyncDriver, BlockingDriver
from toril.runtime.embedded import url_of
from toril.runtime.keys import DEFAULT_PREFIX, key_base
from toril.runtime.methods import on_async_queue, on_queue
from toril.runtime.numbers import whole
from toril.runtime.once import UNNAMED, Request, once
from toril.runtime.queue_events import KNOWN_EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from toril.runtime.dialog import Program

DEFAULT_REDIS = "redis://localhost"

DEFAULT_MAX_EVENTS = 1000
"""About how many entries of the stream are kept at least; given by BullMQ."""

MAX_FIELDS = 100
"""Most fields of one event; chosen: they are arguments of one script."""

RESERVED = KNOWN_EVENTS | {"error"}
"""Events that only queues and workers send; Node's emitters throw at one called `error`."""

Field = str | int | float


def publish(
    base: str, fields: Mapping[str, str], max_events: int, request: Request = UNNAMED
) -> Command[str]:
    """Put one event into the stream; `fields` begins with `event`."""
    words = [word for pair in fields.items() for word in pair][1:]
    return Command(
        "publish_event", (base,), (REAL_TIME, *request, max_events, *words), bytes.decode
    )


def publish_event(
    base: str,
    event: str,
    fields: Mapping[str, Field] | None = None,
    *,
    max_events: int = DEFAULT_MAX_EVENTS,
) -> Program[str]:
    """Publish an event of your own, which every `QueueEvents` gets as a `CustomEvent`; its id.

    Args:
        base: `P:Q:`.
        event: its name, none of the queue's own events.
        fields: name → text or number; make JSON text of anything else.
        max_events: about so many entries of the stream stay, whoever wrote them.

    Raises:
        InvalidInput: a name that the queue's own events have, or a field that is no text.
    """
    whole("max_events", max_events)
    given = {} if fields is None else dict(fields)
    if len(given) > MAX_FIELDS or "event" in given:
        raise InvalidOption(
            f"the event has {len(given)} fields; expected at most {MAX_FIELDS}, none called 'event'"
        )
    if event in RESERVED:
        raise InvalidInput(f"event {event!r} is one of the queue's own; expected another name")
    texts = {"event": _text("event", event)}
    for name, value in given.items():
        texts[_text("name of a field", name)] = _text(f"field {name}", _written(value))
    return (yield from once(partial(publish, base, texts, max_events)))


class QueueEventsProducer:
    """Publishes events of your own to a queue's `QueueEvents`; threads may share one.

    Args:
        name: the queue's name.
        redis: as for `Queue`.
        prefix: as for `Queue`.

    Raises:
        InvalidInput: a name or URL that cannot be used.
    """

    def __init__(
        self, name: str, *, redis: str = DEFAULT_REDIS, prefix: str = DEFAULT_PREFIX
    ) -> None:
        self.name = name
        self._base, url = key_base(prefix, name), url_of(redis)
        self._server = server_name(url)
        self._driver = BlockingDriver(url)

    publish_event = on_queue(publish_event)

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"QueueEventsProducer({self.name!r}, redis={self._server!r})"


class AsyncQueueEventsProducer:
    """Publishes events of your own, for asyncio; as `QueueEventsProducer`, with `await`."""

    def __init__(
        self, name: str, *, redis: str = DEFAULT_REDIS, prefix: str = DEFAULT_PREFIX
    ) -> None:
        self.name = name
        self._base, url = key_base(prefix, name), url_of(redis)
        self._server = server_name(url)
        self._driver = AsyncDriver(url)

    publish_event = on_async_queue(publish_event)

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncQueueEventsProducer({self.name!r}, redis={self._server!r})"


def _written(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else value


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or (not value and not what.startswith("field ")):
        raise InvalidInput(f"{what} is {value!r}; expected text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} is {value!r}; it holds a lone surrogate") from None
    return value
