"""Calls that Redis executed and whose reply was cut off: repeating them changes nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import LOCK_MS, RAISED, RETURNED, Lane
from toril.call import Outcome, Verdict
from toril.errors import RedisUnavailable, TorilError
from toril.runtime.claim import ClaimRequest, Renewed
from toril.runtime.retry import Complete, Counts, Fail, GiveBack, Retry
from toril.runtime.settling import Settled
from toril.runtime.store import Ending, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import RedisServer
    from toril.runtime.claim import Claim
    from toril.runtime.retry import Settlement

ALL = [
    (Complete(), RETURNED),
    (Fail("boom"), RAISED),
    (Retry("boom", 0), RAISED),
    (Retry("boom", 60_000, Counts.CRASH), RAISED),
    (GiveBack(), Outcome(Verdict.INTERRUPTED)),
]


@pytest.fixture
def proxy(redis_server: RedisServer, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(redis_server.socket_path, tmp_path) as proxy:
        yield proxy


async def warm(store: Store, claim: Claim | None = None) -> None:
    """Load the scripts, so that the request whose reply is cut is the one that does the work."""
    await store.exchange(want=ClaimRequest(0, LOCK_MS))
    if claim is not None:
        await store.renew([claim], LOCK_MS)


async def cut_once(store: Store, proxy: FaultProxy, *endings: Ending) -> None:
    proxy.cut()
    with pytest.raises(RedisUnavailable):
        await store.exchange(endings=endings)
    assert proxy.were_cut == 1


@pytest.mark.parametrize(
    ("settlement", "outcome"), ALL, ids=["complete", "fail", "retry", "crash", "give-back"]
)
async def test_settlement_is_repeated_safely(
    lane: Lane, proxy: FaultProxy, settlement: Settlement, outcome: Outcome
) -> None:
    first, held = lane.claim_new("first"), lane.claim_new("1")
    store = Store(proxy.url, "bull", "lane")
    await store.exchange(endings=[Ending(first, settlement, outcome)])
    await cut_once(store, proxy, Ending(held, settlement, outcome))
    with unchanged_keyspace(lane.client):
        back = await store.exchange(endings=[Ending(held, settlement, outcome)])
    assert back.endings == [Settled.ALREADY]
    await store.close()


async def test_claim_is_found_again_and_never_made_twice(lane: Lane, proxy: FaultProxy) -> None:
    for job_id in ("a", "b", "c"):
        lane.wait(job_id)
    store = Store(proxy.url, "bull", "lane")
    await warm(store)
    proxy.cut()
    with pytest.raises(RedisUnavailable):
        await store.exchange(want=ClaimRequest(2, LOCK_MS))
    assert store.has_unconfirmed

    adopted = await store.adopt()
    claimed = (await store.exchange(want=ClaimRequest(2, LOCK_MS))).claimed

    assert claimed is not None
    assert not isinstance(claimed, TorilError)
    assert [claim.id for claim in adopted] == ["a", "b"]
    assert [claim.id for claim in claimed.claims] == ["c"]
    assert lane.job("a")["ats"] == "1"
    await store.close()


async def test_renewal_is_repeated_safely(lane: Lane, proxy: FaultProxy) -> None:
    held = lane.claim_new()
    store = Store(proxy.url, "bull", "lane")
    await warm(store, held)
    proxy.cut()
    with pytest.raises(RedisUnavailable):
        await store.renew([held], LOCK_MS)
    assert await store.renew([held], LOCK_MS) == Renewed()
    await store.close()
