"""Job data as JSON text: strict where json.dumps is not, and it says where the fault is; pure.

Node has to read what is written here, so NaN, infinity and lone surrogates are refused. The path
to a fault is looked for only after the encoder has refused the whole.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from toril.errors import DataTooLarge, InvalidJobData
from toril.sizes import MAX_DATA_BYTES
from toril.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_DATA = b"{}"
"""What BullMQ stores for a job without data."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """Data that is JSON text already, and was checked to be."""

    text: bytes


_NESTING = (dict, list, tuple)

_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, bool, type(None)})
_PLAIN_OR_NESTING = _PLAIN.union(_NESTING)
"""Types, and none that is derived from them, whose text is the same whoever writes it; a float's is
not: `1e16` and `1e+16`."""

_encode_plain = msgspec.json.Encoder().encode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def data_text(data: Any, limit_bytes: int = MAX_DATA_BYTES, *, what: str = "job data") -> bytes:
    """UTF-8 JSON text of a job's data; `{}` for None.

    Args:
        data: the data.
        limit_bytes: longest text.
        what: the data's name in messages.

    Raises:
        InvalidJobData: not JSON; names the place and the type.
        DataTooLarge: longer than `limit_bytes`.
    """
    if data is None:
        return NO_DATA
    text = data.text if isinstance(data, JsonText) else _plain_text(data)
    if text is None:
        text = _checked_text(data, what)
    if len(text) > limit_bytes:
        raise DataTooLarge(
            f"{what} is {format_bytes(len(text))} ({len(text)} bytes) of JSON; expected at most "
            f"{format_bytes(limit_bytes)}. Store it elsewhere and put its address into the job",
            size_bytes=len(text),
            limit_bytes=limit_bytes,
        )
    return text


def _plain_text(data: Any) -> bytes | None:
    """The text of what all encoders write alike, in a half to a fifth of the time; else None.

    Where it is None (for a float, mostly) this was in vain, and took a tenth of the whole.
    """
    try:
        text = _encode_plain(data)
    except Exception:  # noqa: BLE001 - it may run foreign code; `_checked_text` says what is wrong
        return None
    return text if _is_plain(data) else None


def _is_plain(data: Any) -> bool:
    """Whether there are only `_PLAIN` values, however deep; for data that holds no circle."""
    pending = [data]
    for value in pending:
        members: Iterable[Any] = value
        if type(value) is dict:
            if not _TEXT.issuperset(map(type, value)):
                return False
            members = value.values()
        elif type(value) not in _NESTING:
            members = (value,)
        kinds = {*map(type, members)}
        if not kinds <= _PLAIN:
            if not kinds <= _PLAIN_OR_NESTING:
                return False
            pending += [member for member in members if type(member) in _NESTING]
    return True


def _checked_text(data: Any, what: str) -> bytes:
    try:
        text = _encode(data).encode()
    except RecursionError:
        raise InvalidJobData(f"{what} is nested too deeply; expected fewer levels") from None
    except (TypeError, ValueError) as error:
        raise InvalidJobData(f"{what} is not JSON: {_fault(data) or error}") from None
    if _has_odd_key(data):
        # The encoder would turn 1, None or True into text, which comes back as another key.
        raise InvalidJobData(f"{what} is not JSON: {_fault(data)}")
    return text


def _has_odd_key(data: Any) -> bool:
    """Whether some key, however deep, is no text; only for data that has been encoded."""
    pending = [data]
    for value in pending:
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    return True
            members: Iterable[Any] = value.values()
        elif isinstance(value, _NESTING):
            members = value
        else:
            continue
        pending += [member for member in members if isinstance(member, _NESTING)]
    return False


def _fault(data: Any) -> str:
    """Where the data stops being JSON, and why; empty when nothing is found."""
    pending: list[tuple[str, Any]] = [("data", data)]
    seen: set[int] = set()
    while pending:
        path, value = pending.pop()
        if reason := _reason(value):
            return f"{path} is {reason}"
        if isinstance(value, dict | list | tuple):
            if id(value) in seen:
                continue
            seen.add(id(value))
            pending.extend(_members(path, value))
    return ""


def _members(path: str, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> list[Any]:
    if not isinstance(value, dict):
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    keys = [(f"the key {key!r} of {path}", _Key(key)) for key in value]
    return keys + [(f"{path}[{key!r}]", item) for key, item in value.items()]


class _Key:
    """A mapping's key on its way through the search, where fewer types are allowed."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


def _reason(value: Any) -> str:
    match value:
        case _Key(key=str() as key):
            return _reason(key)
        case _Key(key=key):
            return f"of type {_type_name(key)}; JSON's keys are text"
        case float() if not math.isfinite(value):
            return f"{value}, which JSON cannot write"
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            return "text with a lone surrogate, which is no UTF-8"
        case None | str() | int() | float() | dict() | list() | tuple():
            return ""
    return f"of type {_type_name(value)}, which JSON does not have"


def _type_name(value: Any) -> str:
    return type(value).__qualname__
