"""`docs/job-states.md` shows the table that decides, not a memory of it."""

from __future__ import annotations

from pathlib import Path

from toril.runtime.retry import ROWS, Counts, Follows

PAGE = Path(__file__).parents[2] / "docs" / "job-states.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"

FOLLOWS = {
    Follows.COMPLETE: "completed",
    Follows.RETRY: "again while any are left, else failed",
    Follows.FAIL: "failed",
    Follows.GIVE_BACK: "back to the front of the queue",
    Follows.DELAY: "delayed by the time it asked for",
    Follows.HOLD: "back to the front of the queue, which is held for a while",
    Follows.WAIT_FOR_CHILDREN: "waits for its children",
    Follows.ABANDON: "nothing is written",
}


def rendered() -> str:
    rows = [
        f"| {verdict.value} | {row.counts.value or 'nothing'} | {FOLLOWS[row.follows]} |"
        for verdict, row in ROWS.items()
    ]
    return "\n".join(["| verdict | counts as | what follows |", "|---|---|---|", *rows]) + "\n"


def test_page_shows_the_table():
    page = PAGE.read_text()
    assert page.partition(BEGIN)[2].partition(END)[0] == rendered()


def test_every_counter_of_the_table_is_explained():
    page = PAGE.read_text()
    assert all(f"**{counts.value}**" in page for counts in Counts if counts.value)
