"""One and the same trouble is told now and then only; another one at once."""

from __future__ import annotations

from toril.errors import RedisRefused
from toril.supervisor.troubles import Troubles


def test_each_trouble_is_told_once_until_it_is_over():
    told = []
    troubles = Troubles("q", lambda event: told.append((event.what, event.reason)))
    for what, reason in [("claim", "a"), ("claim", "a"), ("claim", "b"), ("waiting", "b")]:
        troubles.tell(what, RedisRefused(reason))
    assert told == [("claim", "a"), ("claim", "b"), ("waiting", "b")]
    troubles.over()
    troubles.tell("claim", RedisRefused("b"))
    assert told[3:] == [("claim", "b")]
