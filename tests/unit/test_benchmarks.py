"""The arithmetic of the benchmarks: ratios within a turn, limits, and what is kept in files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import contestants, results, tables
from benchmarks.limits import SHARES, limit_of
from benchmarks.results import Spread, Table

ROOT = Path(__file__).parents[2]

SLOWER_EVERY_TURN = {"toril": [400.0, 200.0, 100.0], "peer": [100.0, 50.0, 20.0]}


def table(*, over: bool = False) -> Table:
    reference = "toril" if over else "peer"
    return Table("No-op jobs", reference, over, {"jobs/s": SLOWER_EVERY_TURN})


def test_ratios_are_taken_within_a_turn_so_that_a_slowing_machine_cancels_out():
    assert table().ratios("jobs/s", "toril") == Spread(4.0, 4.0, 5.0)


def test_ratios_can_be_turned_round():
    assert table(over=True).ratios("jobs/s", "peer") == Spread(4.0, 4.0, 5.0)


@pytest.mark.parametrize(
    "figures", [{"toril": [1.0], "peer": [0.0]}, {"toril": [1.0]}, {"toril": [1.0], "peer": []}]
)
def test_no_ratio_is_made_up_where_there_is_none(figures):
    assert Table("", "peer", False, {"ms": figures}).ratios("ms", "toril") is None


def test_results_are_read_back_as_they_were_kept(tmp_path):
    path = tmp_path / "deep" / "noop.json"
    kept = Table("No-op jobs", "toril", True, {"jobs/s": {"toril": [1234.0]}}, {"toril": "sandbox"})

    results.save(path, "How many?", {"redis": "7.0"}, [kept])

    assert results.load(path) == ({"redis": "7.0"}, [kept])
    assert [one.name for one in path.parent.iterdir()] == ["noop.json"]


def test_printed_and_written_rows_show_median_spread_and_ratio():
    assert "200 (100 to 400) jobs/s   ratio  4.00 (4.00 to 5.00)" in "\n".join(table().lines())
    assert "| toril | **200** (100 to 400) | **4.00** (4.00 to 5.00) |" in tables.markdown(table())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21_437.2, "21,437"),
        (34.04, "34.0"),
        (3.914, "3.91"),
        (0.5, "0.500"),
        (0.0012345, "0.00123"),
    ],
)
def test_numbers_show_the_digits_that_count(value, text):
    assert results.number(value) == text


def test_the_limit_is_the_first_thing_that_is_used_up():
    idle = dict.fromkeys(SHARES, 0.5)

    assert limit_of(idle) == "round trips: idle"
    assert limit_of(idle | {"server core": 0.9}) == "server: its one core"
    assert limit_of(idle | {"server core": 0.9, "children busy": 0.9}) == "children: all at work"


def test_every_benchmark_has_its_place_on_the_page():
    page = (ROOT / "benchmarks" / "README.md").read_text()
    names = [path.stem.removeprefix("bench_") for path in ROOT.glob("benchmarks/bench_*.py")]

    assert [name for name in names if f"<!-- results: {name} -->" not in page] == []


def test_a_peer_that_is_missing_is_an_error_that_names_its_installer(monkeypatch, tmp_path):
    monkeypatch.setattr(contestants, "PEERS_PYTHON", tmp_path / "python")

    with pytest.raises(SystemExit, match=r"Celery prefork, 2 processes\. `make bench-peers`"):
        contestants.present(
            [contestants.toril(2), contestants.celery(2)], SimpleNamespace(smoke=False)
        )


def test_a_short_form_names_the_missing_peer_and_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(contestants, "PEERS_PYTHON", tmp_path / "python")
    ours = contestants.toril(2)

    assert contestants.present([ours, contestants.celery(2)], SimpleNamespace(smoke=True)) == [ours]
    assert "left out, not installed: Celery prefork" in capsys.readouterr().out
