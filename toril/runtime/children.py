"""What a job can learn of its children: programs that are methods of `Job`, and raw for a child.

Keys are full ones, `prefix:queue:id`, because children may be in any queue.
"""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from toril.errors import InvalidJobData
from toril.runtime.dialog import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from toril.runtime.dialog import Program

_json = msgspec.json.Decoder(msgspec.Raw)


class AskedOfChildren(enum.Enum):
    """What a running job may ask of its children."""

    VALUES = "children_values"
    IGNORED = "ignored_children_failures"
    UNPROCESSED = "unprocessed_children"


def ask_children(base: str, job_id: str, what: AskedOfChildren) -> Program[bytes]:
    """The answer as JSON text.

    Raises:
        InvalidJobData: a child's return value is no JSON.
    """
    match what:
        case AskedOfChildren.VALUES:
            return (yield from raw_children_values(base, job_id))
        case AskedOfChildren.IGNORED:
            reasons = yield from ignored_children_failures(base, job_id)
            return json.dumps(reasons).encode()
        case AskedOfChildren.UNPROCESSED:
            keys = yield from unprocessed_children(base, job_id)
            return json.dumps(keys).encode()
        case _:
            assert_never(what)


def children_values(base: str, job_id: str) -> Program[dict[str, Any]]:
    """Return values of the children that have completed, by their full keys.

    Raises:
        InvalidJobData: a value is no JSON.
    """
    found: dict[str, Any] = json.loads((yield from raw_children_values(base, job_id)))
    return found


def ignored_children_failures(base: str, job_id: str) -> Program[dict[str, str]]:
    """Why children failed whose failure does not count, by their full keys."""
    found = yield from _pairs(f"{base}{job_id}:failed")
    return {_text(key): _text(reason) for key, reason in found.items()}


def unprocessed_children(base: str, job_id: str) -> Program[list[str]]:
    """Full keys of the children that the job still waits for, sorted."""
    (found,) = yield from plain(("SMEMBERS", f"{base}{job_id}:dependencies"))
    return sorted(map(_text, found))


def failed_children(base: str, job_id: str) -> Program[list[str]]:
    """Full keys of the children that have failed the job, in the order in which they did."""
    (found,) = yield from plain(("ZRANGE", f"{base}{job_id}:unsuccessful", 0, -1))
    return [_text(key) for key in found]


def raw_children_values(base: str, job_id: str) -> Program[bytes]:
    """`children_values` as JSON text of an object, of which no objects were built.

    Raises:
        InvalidJobData: a value is no JSON.
    """
    return json_object((yield from _pairs(f"{base}{job_id}:processed")))


def json_object(values: Mapping[bytes, bytes]) -> bytes:
    """JSON text of an object with these members, each of which is JSON text.

    Raises:
        InvalidJobData: one is none.
    """
    return b"{" + b",".join(_members(values.items())) + b"}"


def _members(pairs: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for key, value in pairs:
        name = _text(key)
        try:
            value.decode()
            _json.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidJobData(f"what child {name} returned is not JSON: {error}") from None
        yield json.dumps(name).encode() + b":" + value


def _pairs(key: str) -> Program[dict[bytes, bytes]]:
    (found,) = yield from plain(("HGETALL", key))
    if isinstance(found, dict):
        return found
    return dict(zip(found[::2], found[1::2], strict=True))


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
