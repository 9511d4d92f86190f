"""What a comparison found: figures by measure, side and turn; their medians, ratios and spread.

Only the standard library, so that whatever draws charts and tables reads results with any Python.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its lowest and highest figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one figure."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])


@dataclass(frozen=True, slots=True)
class Table:
    """One comparison.

    Args:
        title: what was compared.
        reference: the side that ratios are to.
        over: ratios are reference ÷ side instead of side ÷ reference.
        figures: measure → side → one figure a turn, the first measure being the question's.
        about: side → a word on it.
    """

    title: str
    reference: str
    over: bool
    figures: dict[str, dict[str, list[float]]]
    about: dict[str, str] = field(default_factory=dict)

    def spread(self, measure: str, side: str) -> Spread:
        """The figures of one side."""
        return Spread.of(self.figures[measure][side])

    def ratios(self, measure: str, side: str) -> Spread | None:
        """Turn by turn against the reference; None where a zero or a missing measure forbids it."""
        ours = self.figures[measure][side]
        reference = self.figures[measure].get(self.reference, [])
        above, below = (reference, ours) if self.over else (ours, reference)
        if len(above) != len(below) or 0 in below:
            return None
        return Spread.of(one / other for one, other in zip(above, below, strict=True))

    def lines(self) -> Iterator[str]:
        """As it is printed: the first measure with its spread, the others by their medians."""
        first, *others = self.figures
        yield self.title
        for side in self.figures[first]:
            yield f"  {side:<36} {_text(self.spread(first, side), 8)} {first}" + (
                f"   ratio {_text(ratio, 5)}" if (ratio := self.ratios(first, side)) else ""
            )
            if said := [self._in_short(one, side) for one in others if side in self.figures[one]]:
                yield f"  {'':<36} {' · '.join(said)}"
        turns = max(len(values) for values in self.figures[first].values())
        which = f"`{self.reference}` ÷ side" if self.over else f"side ÷ `{self.reference}`"
        yield f"  ratios are {which}; medians of {turns} turns, with lowest and highest"

    def _in_short(self, measure: str, side: str) -> str:
        ratio = self.ratios(measure, side)
        text = f"{measure} {number(self.spread(measure, side).median)}"
        return f"{text} (ratio {number(ratio.median)})" if ratio else text


def _text(spread: Spread, width: int) -> str:
    return f"{number(spread.median):>{width}} ({number(spread.low)} to {number(spread.high)})"


def number(value: float) -> str:
    """Three digits that count, and every one before the point: 21,400, 3.91, 0.512."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:.{1 if abs(value) >= 10 else 2}f}"
    return f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.3g}"


def save(path: Path, question: str, setting: dict[str, Any], tables: Iterable[Table]) -> None:
    """Write what one benchmark found, whole or not at all."""
    content = {
        "question": question,
        "setting": setting,
        "tables": [_rounded(asdict(table)) for table in tables],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_name(path.name + ".part")
    half_written.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    os.replace(half_written, path)  # noqa: PTH105 - the atomic one, by its own name


def load(path: Path) -> tuple[dict[str, Any], list[Table]]:
    """The setting and the tables of a results file."""
    content = json.loads(path.read_text())
    return content["setting"], [Table(**table) for table in content["tables"]]


def _rounded(table: dict[str, Any]) -> dict[str, Any]:
    """Four digits that count: more would be noise, and lines in every commit of results."""
    table["figures"] = {
        measure: {side: [float(f"{one:.4g}") for one in values] for side, values in sides.items()}
        for measure, sides in table["figures"].items()
    }
    return table
