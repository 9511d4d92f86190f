"""The answer to what a running job asks of the supervisor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from toril.sandbox.frames import MAX_REPLY_BYTES
from toril.sandbox.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_WORDS_BYTES = MAX_REPLY_BYTES // 8
"""Longest error text, bytes; given: JSON may grow it sixfold."""


class Reply:
    """Answers one call once, at any time; when the attempt is over nobody hears it."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send: Callable[[bytes], None] | None = send

    def give(self, value: str) -> None:
        """It is done, and this is what came of it: `job.add` returns it."""
        self._answer({"value": clean(value, _MAX_WORDS_BYTES)})

    def refuse(self, error: Exception) -> None:
        """It cannot be done: an error of the house is raised in the job as itself."""
        words = clean(str(error) or type(error).__name__, _MAX_WORDS_BYTES)
        self._answer({"error": type(error).__name__, "message": words})

    def _answer(self, fields: dict[str, str]) -> None:
        send, self._send = self._send, None
        if send is not None:
            send(json.dumps(fields, ensure_ascii=False).encode())
