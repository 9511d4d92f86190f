"""What the demo shows: a live table on a terminal, plain lines elsewhere, and the promises."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from toril.demo.promises import Promise

PLAIN_EVERY_S = 2.0
_STATES = ("waiting", "active", "delayed", "completed", "failed")


class View:
    """Shows progress between `with` and its end; on standard error, so that output stays data."""

    def __init__(self, total: int) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._task = self._progress.add_task("jobs", total=total)
        self._total = total
        self._live = Live(console=self.console, refresh_per_second=10, transient=True)
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def show(self, queues: Mapping[str, Mapping[str, int]], settled: int) -> None:
        """Counts by queue, and how many jobs ended."""
        if self.console.is_terminal:
            self._progress.update(self._task, completed=settled)
            self._live.update(Group(_counts_table(queues), self._progress))
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_EVERY_S
            self.console.print(f"{settled} of {self._total} jobs ended", highlight=False)

    def promises(self, promises: Sequence[Promise]) -> None:
        """The table of promises and what Redis says."""
        table = Table(title="what was promised, and what Redis says", title_style="bold")
        table.add_column("")
        table.add_column("promise")
        table.add_column("read back from Redis")
        for promise in promises:
            mark = "[green]kept[/]" if promise.holds else "[red]BROKEN[/]"
            table.add_row(mark, promise.text, promise.evidence)
        self.console.print(table)


def _counts_table(queues: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table()
    table.add_column("queue")
    for state in _STATES:
        table.add_column(state, justify="right")
    for name, counts in queues.items():
        table.add_row(name, *(str(counts.get(state, 0)) for state in _STATES))
    return table
