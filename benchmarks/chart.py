"""Draws results/noop.json as results/noop.png: jobs a second, each side with its isolation.

Wants matplotlib, which the peers' environment has: `make bench-report`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

from benchmarks.results import Table, load, number

RESULTS = Path(__file__).parent / "results"
MEASURE = "jobs/s"

COLOURS = {
    "sandbox": ("#c2410c", "a sandboxed child process"),
    "process": ("#2563eb", "a worker process of its own"),
    "process per job": ("#0891b2", "a process made for the job"),
    "none": ("#9ca3af", "other jobs in the same process"),
}
"""Isolation → its colour and what a job runs in."""

INK, PAPER = "#1f2937", "#ffffff"
"""Opaque paper: readable on a light and on a dark page."""


def main() -> None:
    if not (RESULTS / "noop.json").exists():
        sys.stdout.write("noop.json is not there: no chart\n")
        return
    setting, tables = load(RESULTS / "noop.json")
    mpl.use("agg")
    figure = draw(tables[0], f"{setting['machine']} · Python {setting['python'].split(',')[0]}")
    figure.savefig(RESULTS / "noop.png", dpi=100, facecolor=PAPER, metadata={"Software": None})


def draw(table: Table, caption: str) -> plt.Figure:
    """One bar a side, the fastest on top, with the lowest and the highest turn as a line."""
    spreads = {side: table.spread(MEASURE, side) for side in table.figures[MEASURE]}
    sides = sorted(spreads, key=lambda side: spreads[side].median)
    medians = [spreads[side].median for side in sides]
    below = [spreads[side].median - spreads[side].low for side in sides]
    above = [spreads[side].high - spreads[side].median for side in sides]

    figure, axes = plt.subplots(figsize=(8.6, 0.42 * len(sides) + 1.5), layout="constrained")
    colours = [COLOURS[table.about[side]][0] for side in sides]
    axes.barh(sides, medians, xerr=[below, above], color=colours, ecolor=INK, height=0.66)
    for row, side in enumerate(sides):
        end = spreads[side].high + 0.01 * max(medians)
        axes.text(end, row, number(spreads[side].median), va="center", color=INK, fontsize=9)
    axes.set_title("No-op jobs a second, two at a time", loc="left", color=INK, weight="bold")
    axes.set_xlabel(caption, color=INK, fontsize=8)
    axes.set_xlim(right=1.12 * max(spread.high for spread in spreads.values()))
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.get_xaxis().set_major_formatter(lambda value, _: number(value))
    axes.spines[["top", "right", "left"]].set_visible(False)
    used = {
        isolation: COLOURS[isolation] for isolation in COLOURS if isolation in table.about.values()
    }
    axes.legend(
        handles=[Patch(color=colour, label=words) for colour, words in used.values()],
        title="A job runs in",
        loc="lower right",
        frameon=False,
        fontsize=9,
        title_fontsize=9,
    )
    return figure


if __name__ == "__main__":
    main()
