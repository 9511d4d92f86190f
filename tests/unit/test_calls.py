"""What a child is told of a claim."""

from __future__ import annotations

import json

from toril.runtime.claim import Claim
from toril.supervisor.calls import as_call


def test_a_call_says_what_the_claim_is():
    """Options and data go on as the text they are, a checkpoint only where there is one."""
    claim = Claim("7", "t:1", "resize", b'{"a": 1}', raw_opts=b'{"attempts": 3}', priority=5)
    call = as_call(claim, "images")
    header = json.loads(call.header)
    assert call.data == b'{"a": 1}'
    assert header == {
        "id": "7",
        "name": "resize",
        "queue": "images",
        "attempts_made": 0,
        "attempts_started": 1,
        "timestamp": 0,
        "priority": 5,
        "opts": {"attempts": 3},
    }
    kept = as_call(Claim("7", "t:1", "resize", checkpoint=b"[4]"), "images")
    assert json.loads(kept.header)["checkpoint"] == [4]


def test_a_foreign_id_that_is_no_utf8_reaches_the_child_as_it_was_read():
    """The child sees the same text as the supervisor, lone surrogates included."""
    job_id = b"\xffid".decode(errors="surrogateescape")
    header = json.loads(as_call(Claim(job_id, "t:1", "né"), "q").header)
    assert (header["id"], header["name"]) == (job_id, "né")
