"""A mixed fleet: two workers in Node and two supervisors on one queue, killed again and again.

Interop checklist, entry 35, with failures, delays, priorities and retries. Both kinds write what
happens to a ledger outside Redis, by which the promises are judged. As in `test_chaos.py` a run is
made of its seed, and `TORIL_CHAOS_SEED=n` repeats it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.faults import FLEET_FAULTS
from tests.chaos.jobs import EVERYWHERE
from tests.chaos.pens import Terms
from tests.chaos.promises import PROMISES, l8_rate_is_kept
from tests.chaos.run import Plan
from tests.chaos.test_chaos import chosen_seed, prove
from tests.interop.node import require_node

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

TERMS = Terms(lock_ms=2500, tokens_per_s=None)
FLEET: dict[str, Any] = {
    "pens": 2,
    "nodes": 2,
    "kinds": EVERYWHERE,
    "faults": FLEET_FAULTS,
    "terms": TERMS,
    "pause_s": (0.8, 1.6),
}
ASKED = tuple(promise for promise in PROMISES if promise is not l8_rate_is_kept)
"""All but the rate, which BullMQ's workers do not know."""


def prove_fleet(plan: Plan, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promises, and that the run was one to prove them: both kinds worked, and were killed."""
    ledger = prove(plan, home, monkeypatch, ASKED).ledger
    by_node = dict(
        ledger.execute("SELECT worker LIKE '%-node-%', count(*) FROM job GROUP BY 1").fetchall()
    )
    assert min(by_node[0], by_node[1]) > plan.jobs / 10
    (stalls,) = ledger.execute("SELECT sum(stalls) FROM job").fetchone()
    assert stalls > 0


@pytest.fixture(autouse=True)
def node_is_there() -> None:
    require_node()


@pytest.mark.timeout(120)
def test_35_mixed_fleet_keeps_the_promises(tmp_path, monkeypatch):
    prove_fleet(Plan(chosen_seed(), 240, 40.0, **FLEET), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_35_mixed_fleet_keeps_the_promises_over_5000_jobs(tmp_path, monkeypatch):
    plan = Plan(chosen_seed(), 5000, 30.0, drain_s=300.0, **FLEET)
    prove_fleet(plan, tmp_path, monkeypatch)
