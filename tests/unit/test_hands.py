"""Which claims lie ready for which child."""

from __future__ import annotations

from toril.call import Call
from toril.runtime.claim import Claim
from toril.supervisor.hands import Hands
from toril.supervisor.line import Standing


def laid(hands: Hands, child: object, ids: str) -> list[tuple[Call, Claim]]:
    pairs = [(Call(one, "n", b"", b""), Claim(one, f"t:{one}", "n")) for one in ids]
    for call, claim in pairs:
        hands.put(child, call, Standing(0.0, claim))
    return pairs


def test_each_child_begins_its_own_in_order():
    hands = Hands()
    first, second = laid(hands, "one", "abc"), laid(hands, "two", "d")
    assert len(hands) == 4
    assert (hands.count("one"), hands.count("two"), hands.count("three")) == (3, 1, 0)
    assert hands.pop("one").claim is first[0][1]
    assert hands.holder(first[0][1]) is None
    assert hands.holder(first[1][1]) == "one"
    assert hands.pop("two").claim is second[0][1]
    assert len(hands) == 2


def test_what_is_taken_back_is_known_by_the_call_and_not_by_its_job():
    """A job that was claimed anew may lie behind its own former attempt."""
    hands = Hands()
    (call, claim), (_, left) = laid(hands, "one", "aa")
    other = Call(call.job_id, call.name, call.header, call.data)
    assert [one.claim for one in hands.take("one", [other, call])] == [claim]
    assert hands.pop("one").claim is left
    assert len(hands) == 0
    assert hands.take("one", [call]) == []
