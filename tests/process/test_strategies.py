"""A child asks the back-off strategy that its job names, and hands on what it said."""

from __future__ import annotations

import pytest

from tests.process.harness import call_of, pen
from toril.call import Outcome, Verdict
from toril.errors import ProcessorImportError

MODULE = "tests.process.processors.strategies"


async def failed(strategy: str, **changes) -> Outcome:
    """The outcome of a job that fails and names this strategy."""
    opts = {"attempts": 3, "backoff": {"type": strategy, "delay": 5}}
    async with pen(f"{MODULE}:fail", backoff=f"{MODULE}:strategies", **changes) as p:
        child = await p.child()
        child.run(call_of("four", opts=opts))
        outcome = await p.finish(child)
        if outcome.verdict is Verdict.RAISED:
            assert p.heard[child].exits == []
    return outcome


@pytest.mark.parametrize("import_in", ["zygote", "child"])
@pytest.mark.parametrize(("strategy", "delay_ms"), [("by-error", 141), ("patient", 7)])
async def test_answer_comes_with_the_error(strategy, delay_ms, import_in):
    outcome = await failed(strategy, import_in=import_in)
    assert (outcome.verdict, outcome.message) == (Verdict.RAISED, "four")
    assert outcome.detail["backoff_ms"] == delay_ms


async def test_strategy_that_nobody_defines_leaves_the_error_as_it_is():
    outcome = await failed("by-eror")
    assert (outcome.verdict, outcome.message) == (Verdict.RAISED, "four")
    assert "did you mean 'by-error'" in outcome.detail["backoff_fault"]


async def test_strategys_time_is_the_attempts():
    outcome = await failed("hang", timeout_s=0.3)
    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.detail["stage"] == "exception"


async def test_strategies_that_cannot_be_are_refused_at_the_start():
    with pytest.raises(ProcessorImportError, match="did you mean 'strategies'"):
        async with pen(f"{MODULE}:fail", backoff=f"{MODULE}:strategy"):
            pass
    with pytest.raises(ProcessorImportError, match="importing back-off strategies 'nowhere:x'"):
        async with pen(f"{MODULE}:fail", backoff="nowhere:x"):
            pass
