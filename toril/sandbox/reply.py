"""The answer to what a running job asks of the supervisor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from toril.errors import DataTooLarge
from toril.sandbox.text import clean
from toril.sizes import MAX_DATA_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_WORDS_BYTES = 8 * 1024
"""Longest id or error text, bytes; chosen: more than any of them needs."""


class Reply:
    """Answers one call once, at any time; when the attempt is over nobody hears it."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send: Callable[[bytes], None] | None = send

    def give(self, value: str) -> None:
        """It is done, and this is what came of it: `job.add` returns it."""
        self._answer({"value": clean(value, _MAX_WORDS_BYTES)})

    def give_json(self, value: bytes) -> None:
        """It is done, and this JSON text is what came of it; one that is too long is refused."""
        if len(value) > MAX_DATA_BYTES:
            self.refuse(
                DataTooLarge(
                    f"the answer is {len(value)} bytes of JSON, over the limit of {MAX_DATA_BYTES}",
                    size_bytes=len(value),
                    limit_bytes=MAX_DATA_BYTES,
                )
            )
            return
        self._send_once(b'{"value":' + value + b"}")

    def refuse(self, error: Exception) -> None:
        """It cannot be done: an error of the house is raised in the job as itself."""
        words = clean(str(error) or type(error).__name__, _MAX_WORDS_BYTES)
        self._answer({"error": type(error).__name__, "message": words})

    def _answer(self, fields: dict[str, str]) -> None:
        self._send_once(json.dumps(fields, ensure_ascii=False).encode())

    def _send_once(self, answer: bytes) -> None:
        send, self._send = self._send, None
        if send is not None:
            send(answer)
