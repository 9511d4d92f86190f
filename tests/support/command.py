"""Commands of `toril`, run in this process, with their JSON held against its schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from toril.cli.main import main
from toril.cli.records import OUTPUTS

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    def records(self, output: str) -> list[Any]:
        """Its lines, each read strictly as what the schema promises for that command."""
        texts = self.out.splitlines()
        if output == "doctor":
            texts = [self.out]
        for text in texts:
            msgspec.json.decode(text, type=OUTPUTS[output])
        return [json.loads(text) for text in texts]


class Command:
    """Runs `toril WORDS`; a fixture hands it out."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self._url = url

    def __call__(self, *words: str) -> Said:
        """Against the test's server."""
        return self.alone(*words, "--redis", self._url)

    def alone(self, *words: str) -> Said:
        """Without naming a server."""
        self._capsys.readouterr()
        try:
            code = main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        found = self._capsys.readouterr()
        return Said(code, found.out, found.err)
