"""Commands that take and keep jobs: claim, adopt, renew, sweep, put a marker back; pure.

A reply is taken as foreign input: numbers that are none count as 0, data and options that cannot
be used make a claim `unreadable`, never an error. One bad job may not spoil a batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from toril.call import MAX_CHECKPOINT_BYTES, MAX_DATA_BYTES, MAX_NAME_BYTES, MAX_OPTS_BYTES
from toril.runtime.claim import Claim, Claimed, Renewed, Slot
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.limiter import NO_LIMIT_ARGS
from toril.runtime.numbers import EXACT
from toril.runtime.options import JobOpts, parse_opts
from toril.runtime.schedule import Due, next_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.runtime.claim import ClaimRequest, Marker


_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def claim_jobs(  # noqa: PLR0913 - what a claim is made of
    base: str,
    request: ClaimRequest,
    tokens: Sequence[str],
    *,
    worker_name: str = "",
    slot: Slot | None = None,
    now_ms: int | str = REAL_TIME,
) -> Command[Claimed]:
    """Take up to `request.count` jobs, one token each.

    A job that carries a schedule on by a cron pattern is taken only with the slot that follows it:
    without it the answer is `due`, for `slot_after`.
    """
    args: list[str | bytes | int] = [now_ms, request.lock_ms, worker_name]
    args += (MAX_DATA_BYTES, MAX_OPTS_BYTES)
    args += NO_LIMIT_ARGS if request.limit is None else request.limit.as_args()
    args += ("", "") if slot is None else (slot.job_id, "" if slot.at_ms is None else slot.at_ms)
    args += tokens[: request.count]
    return Command("claim", (base,), tuple(args), lambda reply: _claimed(reply, slot))


def slot_after(claimed: Claimed) -> Slot | None:
    """What the next claim needs to get past the job that this one stopped at."""
    if claimed.due is None:
        return None
    try:
        return Slot(claimed.due.id, next_slot(claimed.due, claimed.now_ms))
    except ValueError as error:
        return Slot(claimed.due.id, error=str(error))


def adopt_jobs(base: str, tokens: Sequence[str]) -> Command[list[Claim]]:
    """The active jobs that carry one of these tokens."""
    args: list[str | bytes | int] = [REAL_TIME, MAX_DATA_BYTES, MAX_OPTS_BYTES, *tokens]
    return Command("adopt", (base,), tuple(args), lambda reply: [_claim(job) for job in reply])


def renew_locks(base: str, held: Sequence[Claim], lock_ms: int) -> Command[Renewed]:
    """Renew or retake these locks; answers with the jobs that are lost, and that are cancelled."""
    triples = [part for claim in held for part in (claim.id, claim.token, claim.attempts_started)]

    def parse(reply: Any) -> Renewed:
        lost, cancelled = map(set, map(_texts, reply))
        return Renewed(
            lost=tuple(claim for claim in held if claim.token in lost),
            cancelled=tuple(claim for claim in held if claim.token in cancelled),
        )

    return Command("renew", (base,), (REAL_TIME, lock_ms, *triples), parse)


def sweep_stalled(
    base: str,
    max_stalled: int,
    interval_ms: int,
    held: Sequence[str] = (),
    *,
    now_ms: int | str = REAL_TIME,
) -> Command[list[str]]:
    """Recover stalled jobs, but those held, once per interval over all workers; their ids."""
    return Command("sweep", (base,), (now_ms, max_stalled, interval_ms, *held), _texts)


def put_back_marker(base: str, marker: Marker) -> Command[str]:
    """Wake another worker instead of this one."""
    return Command("put_back_marker", (base,), (REAL_TIME, marker.member), _text)


def _claimed(reply: Any, slot: Slot | None) -> Claimed:
    stopped, limit_ttl_ms, next_ms, ghosts, due_id, due_opts, jobs, now_ms = reply
    return Claimed(
        claims=tuple(_unless_broken(_claim(job), slot) for job in jobs),
        due=Due(_text(due_id), due_opts) if due_id else None,
        limit_ttl_ms=limit_ttl_ms,
        next_delayed_ms=next_ms,
        now_ms=int(now_ms),
        gated=stopped == b"gated",
        ghosts=ghosts,
        more=stopped in {b"full", b"steps", b"due"},
    )


def _unless_broken(claim: Claim, slot: Slot | None) -> Claim:
    """A job whose schedule cannot go on fails with the reason, or nobody would learn of it."""
    if slot is None or slot.error is None or slot.job_id != claim.id:
        return claim
    return replace(claim, unreadable=claim.unreadable or slot.error)


def _claim(job: Any) -> Claim:
    job_id, token, name, data, raw_opts, data_bytes, opts_bytes, *rest = job
    *numbers, cancel, deferred, checkpoint = rest
    timestamp, priority = map(_int, numbers[:2])
    ats, atm, stc, crashes, interruptions, processed_on = map(_count, numbers[2:])
    opts, unreadable = _readable(raw_opts, data_bytes, opts_bytes)
    for what, text in (("id", job_id), ("name", name)):
        if len(text) > MAX_NAME_BYTES:
            unreadable = f"job {what} is {len(text)} bytes; at most {MAX_NAME_BYTES} are read"
    return Claim(
        id=_text(job_id),
        token=_text(token),
        name=_text(name[:MAX_NAME_BYTES]),
        data=data or b"{}",
        opts=opts,
        raw_opts=raw_opts or b"{}",
        timestamp_ms=timestamp,
        priority=priority,
        attempts_made=atm,
        attempts_started=ats,
        stalls=stc,
        crashes=crashes,
        interruptions=interruptions,
        processed_on_ms=processed_on,
        checkpoint=_checkpoint(checkpoint),
        is_cancelled=cancel is not None,
        deferred_failure=None if deferred is None else _text(deferred),
        unreadable=unreadable,
    )


def _readable(raw_opts: bytes, data_bytes: int, opts_bytes: int) -> tuple[JobOpts, str | None]:
    """The options, and why the job cannot be run if it cannot."""
    if opts_bytes > MAX_OPTS_BYTES:
        return JobOpts(), _oversize("options", opts_bytes, MAX_OPTS_BYTES)
    try:
        opts = parse_opts(raw_opts)
    except ValueError as error:
        return JobOpts(), str(error)
    if data_bytes > MAX_DATA_BYTES:
        return opts, _oversize("data", data_bytes, MAX_DATA_BYTES)
    return opts, None


def _checkpoint(raw: bytes | None) -> bytes | None:
    """What an attempt left, unless somebody else wrote what is none."""
    if raw is None or len(raw) > MAX_CHECKPOINT_BYTES:
        return None
    try:
        raw.decode()
        _raw_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
    return raw


def _oversize(what: str, found: int, limit: int) -> str:
    return f"job {what} are {found} bytes; at most {limit} are read"


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _texts(reply: Any) -> list[str]:
    return [_text(raw) for raw in reply]


def _int(raw: bytes) -> int:
    try:
        number = float(raw)
    except ValueError:
        return 0
    return int(number) if abs(number) < EXACT else 0


def _count(raw: bytes) -> int:
    """A counter, as the scripts read it: what is none, or below 0, counts as 0."""
    return max(_int(raw), 0)
