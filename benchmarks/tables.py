"""Writes the results into README.md, between the marks that name them.

`<!-- results: noop -->` stands before what is made of results/noop.json, `<!-- end -->` after it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.limits import SHARES, limit_of
from benchmarks.results import Spread, Table, load, number

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW_MEASURES = 2
"""Chosen: as many columns with spreads as a page is wide."""

HERE = Path(__file__).parent
MARKED = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    page = HERE / "README.md"
    written = MARKED.sub(_fresh, page.read_text())
    page.write_text(written)
    named = set(re.findall(r"<!-- results: ([\w-]+) -->", written))
    for path in sorted((HERE / "results").glob("*.json")):
        if path.stem not in named:
            sys.stdout.write(f"README.md has no place for {path.name}\n")


def _fresh(mark: re.Match[str]) -> str:
    path = HERE / "results" / f"{mark[2]}.json"
    if not path.exists():
        sys.stdout.write(f"{path.name} is not there: its table stays as it is\n")
        return mark[0]
    setting, tables = load(path)
    chart = path.with_suffix(".png")
    parts = [
        *([f"![{tables[0].title}](results/{chart.name})"] if chart.exists() else []),
        told(setting),
        *(text for table in tables for text in (f"**{table.title}**", markdown(table))),
    ]
    return f"{mark[1]}\n" + "\n\n".join(parts) + f"\n\n{mark[3]}"


def told(setting: dict[str, Any]) -> str:
    """A setting as a line under a heading."""
    peers = ", ".join(f"{name} {number}" for name, number in setting["peers"].items())
    return (
        f"{setting['date']}, {setting['commit']}, load {setting['load']} before the first table; "
        f"{setting['machine']}; Python {setting['python']}; Redis {setting['redis']}; "
        f"Node {setting['node']}; {peers or 'no peers'}."
    )


def markdown(table: Table) -> str:
    """One row a side."""
    rows = [_heading(table), *_rows(table)]
    rows.insert(1, ["---", *("---:" for _ in rows[0][1:])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _heading(table: Table) -> list[str]:
    first, *others = table.figures
    about = ["isolation"] if table.about else []
    if _is_of_limits(table):
        return ["", *about, first, "limit", *others]
    ratio = f"`{table.reference}` ÷ it" if table.over else f"÷ `{table.reference}`"
    return ["", *about, first, ratio, *others]


def _rows(table: Table) -> Iterator[list[str]]:
    first, *others = table.figures
    for side in table.figures[first]:
        about = [table.about.get(side, "")] if table.about else []
        if _is_of_limits(table):
            beside = limit_of({one: table.spread(one, side).median for one in SHARES})
        else:
            ratio = table.ratios(first, side)
            beside = "1" if side == table.reference else _with_spread(ratio)
        yield [side, *about, _with_spread(table.spread(first, side)), beside] + [
            _further(table, measure, side) for measure in others
        ]


def _further(table: Table, measure: str, side: str) -> str:
    """Where there are but two measures, each is an answer and has its ratio."""
    if side not in table.figures[measure]:
        return ""
    text = number(table.spread(measure, side).median)
    if len(table.figures) > FEW_MEASURES or side == table.reference:
        return text
    return f"{text}; ratio {_with_spread(table.ratios(measure, side))}"


def _is_of_limits(table: Table) -> bool:
    return all(share in table.figures for share in SHARES)


def _with_spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    low, median, high = (number(one) for one in (spread.low, spread.median, spread.high))
    return f"**{median}** ({low} to {high})"


if __name__ == "__main__":
    main()
