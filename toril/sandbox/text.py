"""What enters and leaves a child: strict JSON, and bounded text that always encodes."""

from __future__ import annotations

import json
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_CUT = " … [cut]"


def to_json(value: Any) -> bytes:
    """JSON text of a value, UTF-8, as every other language reads it.

    Raises:
        TypeError: a part of it has no JSON form.
        ValueError: NaN, an infinity, a circle, or text that UTF-8 cannot carry.
        RecursionError: it is nested too deeply.
    """
    return b"null" if value is None else _encode(value).encode()


def from_json(text: bytes) -> Any:
    """The value of strict JSON text: no NaN, no infinities, which no other language reads.

    Raises:
        ValueError: it is not.
        RecursionError: it is nested too deeply.
    """
    words = text.decode()
    try:
        value, end = _raw_decode(words)
    except ValueError:
        return _decode(words)
    return value if end == len(words) else _decode(words)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


_decoder = json.JSONDecoder(parse_constant=_refuse)
# What `decode` does without looking for blanks around, where nobody writes any.
_raw_decode, _decode = _decoder.raw_decode, _decoder.decode


def clean(text: str, max_bytes: int) -> str:
    """The text, encodable whatever it holds, cut to `max_bytes` of UTF-8 with a mark."""
    data = text[:max_bytes].encode("utf-8", "backslashreplace")
    if len(data) <= max_bytes and len(text) <= max_bytes:
        return data.decode()
    return data[: max_bytes - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def clean_end(text: str, max_bytes: int) -> str:
    """As `clean`, but the end is kept: a traceback's last lines say what happened."""
    data = text[-max_bytes:].encode("utf-8", "backslashreplace")
    if len(data) <= max_bytes and len(text) <= max_bytes:
        return data.decode()
    mark = _CUT.strip() + "\n"
    return mark + data[len(mark.encode()) - max_bytes :].decode("utf-8", "ignore")
