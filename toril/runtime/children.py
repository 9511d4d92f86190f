"""What a job can learn of its children: programs that are methods of `Job`, and raw for a child.

Keys are full ones, `prefix:queue:id`, because children may be in any queue. There may be any number
of them: they are read and checked page by page, so that a supervisor's loop turns in between.
"""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Any

import msgspec

from toril.errors import DataTooLarge, InvalidJobData
from toril.runtime.dialog import plain
from toril.sizes import MAX_DATA_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toril.runtime.dialog import Program

PAGE = 500
"""Children per round trip; chosen: read and checked in about a millisecond."""

_json = msgspec.json.Decoder(msgspec.Raw)


class AskedOfChildren(enum.Enum):
    """What a running job may ask of its children."""

    VALUES = "children_values"
    IGNORED = "ignored_children_failures"
    UNPROCESSED = "unprocessed_children"


def ask_children(base: str, job_id: str, what: AskedOfChildren) -> Program[bytes]:
    """The answer as JSON text, of which no objects were built.

    Raises:
        InvalidJobData: a child's return value is no JSON.
        DataTooLarge: it is over the limit on job data.
    """
    return (yield from _RAW[what](base, job_id, MAX_DATA_BYTES))


def children_values(base: str, job_id: str) -> Program[dict[str, Any]]:
    """Return values of the children that have completed, by their full keys.

    Raises:
        InvalidJobData: a value is no JSON.
    """
    found: dict[str, Any] = json.loads((yield from _raw_values(base, job_id)))
    return found


def ignored_children_failures(base: str, job_id: str) -> Program[dict[str, str]]:
    """Why children failed whose failure does not count, by their full keys."""
    found: dict[str, str] = json.loads((yield from _raw_ignored(base, job_id)))
    return found


def unprocessed_children(base: str, job_id: str) -> Program[list[str]]:
    """Full keys of the children that the job still waits for, sorted."""
    found: list[str] = json.loads((yield from _raw_unprocessed(base, job_id)))
    return found


def failed_children(base: str, job_id: str) -> Program[list[str]]:
    """Full keys of the children that have failed the job, in the order in which they did."""
    (found,) = yield from plain(("ZRANGE", f"{base}{job_id}:unsuccessful", 0, -1))
    return [_text(key) for key in found]


def _raw_values(base: str, job_id: str, limit_bytes: int | None = None) -> Program[bytes]:
    key = f"{base}{job_id}:processed"
    found = yield from _scanned("HSCAN", key, _values, limit_bytes)
    return b"{" + b",".join(found.values()) + b"}"


def _raw_ignored(base: str, job_id: str, limit_bytes: int | None = None) -> Program[bytes]:
    key = f"{base}{job_id}:failed"
    found = yield from _scanned("HSCAN", key, _reasons, limit_bytes)
    return b"{" + b",".join(found.values()) + b"}"


def _raw_unprocessed(base: str, job_id: str, limit_bytes: int | None = None) -> Program[bytes]:
    key = f"{base}{job_id}:dependencies"
    found = yield from _scanned("SSCAN", key, _keys, limit_bytes)
    return b"[" + b",".join(found[name] for name in sorted(found)) + b"]"


_RAW = {
    AskedOfChildren.VALUES: _raw_values,
    AskedOfChildren.IGNORED: _raw_ignored,
    AskedOfChildren.UNPROCESSED: _raw_unprocessed,
}

Texts = dict[bytes, bytes]
"""Full key of a child → JSON text of an object's member, or of a list's element."""


def _scanned(
    scan: str, key: str, encode: Callable[[Sequence[bytes]], Texts], limit_bytes: int | None
) -> Program[Texts]:
    """What a hash or a set holds, encoded page by page."""
    found: Texts = {}
    cursor, size_bytes = b"0", 0
    while True:
        ((cursor, page),) = yield from plain((scan, key, cursor, "COUNT", PAGE))
        found.update(encode(page))
        size_bytes += sum(map(len, page))
        if limit_bytes is not None and size_bytes > limit_bytes:
            raise DataTooLarge(
                f"what is known of the children is more than {limit_bytes} bytes",
                size_bytes=size_bytes,
                limit_bytes=limit_bytes,
            )
        if cursor == b"0":
            return found


def _values(page: Sequence[bytes]) -> Texts:
    found = {}
    for name, value in zip(page[::2], page[1::2], strict=True):
        try:
            value.decode()
            _json.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidJobData(
                f"what child {_text(name)} returned is not JSON: {error}"
            ) from None
        found[name] = _quoted(name) + b":" + value
    return found


def _reasons(page: Sequence[bytes]) -> Texts:
    pairs = zip(page[::2], page[1::2], strict=True)
    return {name: _quoted(name) + b":" + _quoted(reason) for name, reason in pairs}


def _keys(page: Sequence[bytes]) -> Texts:
    return {name: _quoted(name) for name in page}


def _quoted(raw: bytes) -> bytes:
    return json.dumps(_text(raw)).encode()


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
