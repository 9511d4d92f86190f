"""What a running job may ask of the supervisor, as text out and text in, on the child's side.

The supervisor checks everything again: this side is only for early and clear errors.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from toril import errors
from toril.sandbox.text import from_json, to_json
from toril.sizes import MAX_DATA_BYTES
from toril.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

_ERRORS: dict[str, type[errors.TorilError]] = {
    one.__name__: one
    for one in (
        errors.InvalidInput,
        errors.InvalidJobId,
        errors.InvalidJobData,
        errors.InvalidOption,
        errors.InvalidQueueName,
        errors.RedisUnavailable,
        errors.RedisRefused,
    )
}
"""Errors that cross the wall as themselves; any other comes out as a `TorilError` naming it."""


def add_request(
    name: str, data: Any, options: Mapping[str, Any], queue: str | None = None
) -> bytes:
    """JSON text `{"method": "add", "payload": {"name", "data", "options"}}`, and `"queue"`.

    Raises:
        InvalidJobData: the data has no JSON form.
        DataTooLarge: it is over the limit on job data.
        InvalidOption: an option has none.
    """
    try:
        text = to_json(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidJobData(f"data of the job to add is not JSON: {error}") from None
    if len(text) > MAX_DATA_BYTES:
        raise errors.DataTooLarge(
            f"data of the job to add is {len(text)} bytes of JSON, over the limit of "
            f"{MAX_DATA_BYTES}",
            size_bytes=len(text),
            limit_bytes=MAX_DATA_BYTES,
        )
    where = {} if queue is None else {"queue": queue}
    parts = {option: _plain(option, value) for option, value in options.items()}
    try:
        rest = to_json({"name": name, "options": parts} | where)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidOption(f"an option of the job to add is not JSON: {error}") from None
    return b'{"method":"add","payload":{"data":' + text + b"," + rest[1:] + b"}"


def request(method: str) -> bytes:
    """JSON text of a question that has no arguments."""
    return to_json({"method": method, "payload": None})


def answer(reply: bytes) -> Any:
    """The value of a reply.

    Raises:
        TorilError: the supervisor's error.
    """
    found = from_json(reply)
    if "error" in found:
        kind = _ERRORS.get(found["error"])
        if kind is None:
            raise errors.TorilError(f"{found['error']}: {found['message']}")
        raise kind(found["message"])
    return found["value"]


def _plain(option: str, value: Any) -> Any:
    """An option in JSON's types; classes are told by attributes: their room is not ours."""
    match value:
        case timedelta():
            return f"{round(value / timedelta(milliseconds=1))}ms"
        case datetime():
            if value.tzinfo is None:
                raise errors.InvalidOption(
                    f"{option} is a datetime without a time zone; expected an aware one"
                )
            return round(value.timestamp() * 1000)
        case Telemetry():
            return {"metadata": value.metadata, "omit_context": value.omit_context}
        case object(kind=kind, delay_ms=delay_ms, jitter=jitter):
            return {"type": kind, "delay": f"{delay_ms}ms", "jitter": jitter}
        case object(id=_, keep_last_if_active=_):
            names = ("id", "ttl", "extend", "replace", "keep_last_if_active", "reschedule")
            return {name: _plain(option, getattr(value, name)) for name in names}
    return value
