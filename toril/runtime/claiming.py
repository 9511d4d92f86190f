"""Commands that take and keep jobs: claim, adopt, renew, sweep, put a marker back; pure.

A reply is taken as foreign input: numbers that are none count as 0, data and options that cannot
be used make a claim `unreadable`, never an error. One bad job may not spoil a batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from toril.runtime.claim import Claim, Claimed, Renewed, Slot
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.limiter import NO_LIMIT_ARGS
from toril.runtime.numbers import EXACT
from toril.runtime.options import JobOpts, parse_opts
from toril.runtime.schedule import Due, next_slot
from toril.sizes import MAX_CHECKPOINT_BYTES, MAX_DATA_BYTES, MAX_NAME_BYTES, MAX_OPTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.runtime.claim import ClaimRequest, Marker


_OPTS_KEPT = 256
"""Options kept as they were parsed; chosen: the jobs of a queue share a few texts, and those whose
options are all different (a trace, an id) cost no more than the memory of so many."""

_SHORT_OPTS_BYTES = 512
"""Longest text of options that is kept; chosen: what is longer is hardly shared."""

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
    args.append(request.count if request.free is None else request.free)
    args += tokens[: request.count]
    return Command("claim", (base,), tuple(args), lambda reply: _claimed(reply, tokens, slot))


def stopped_full(reply: Any) -> bool:
    """Whether a claim's reply holds as many jobs as one call gives, and so tells nothing else."""
    return bool(reply[0] == b"full")


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
    return Command("adopt", (base,), tuple(args), _adopted)


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


def _claimed(reply: Any, tokens: Sequence[str], slot: Slot | None) -> Claimed:
    stopped, limit_ttl_ms, next_ms, ghosts, due_id, due_opts, jobs, now_ms = reply
    claims = map(_claim, tokens, jobs)
    return Claimed(
        claims=tuple(claims if slot is None else (_unless_broken(one, slot) for one in claims)),
        due=Due(_text(due_id), due_opts) if due_id else None,
        limit_ttl_ms=limit_ttl_ms,
        next_delayed_ms=next_ms,
        now_ms=int(now_ms),
        gated=stopped == b"gated",
        ghosts=ghosts,
        more=stopped in {b"full", b"steps", b"due"},
    )


def _adopted(reply: Any) -> list[Claim]:
    return [_claim(_text(token), job) for token, job in zip(reply[::2], reply[1::2], strict=True)]


def _unless_broken(claim: Claim, slot: Slot) -> Claim:
    """A job whose schedule cannot go on fails with the reason, or nobody would learn of it."""
    if slot.error is None or slot.job_id != claim.id:
        return claim
    return replace(claim, unreadable=claim.unreadable or slot.error)


def _claim(token: str, job: Any) -> Claim:
    """The order of the parts is that of `lua/lib/jobs.lua`."""
    data, raw_opts, name, timestamp, priority, ats, atm, stc, crashes, interruptions = job[:10]
    processed_on, cancelled, deferred, checkpoint, _rjk, job_id, data_bytes, opts_bytes = job[10:]
    opts, unreadable = _readable(raw_opts or b"", data_bytes, opts_bytes)
    if len(job_id) > MAX_NAME_BYTES or (name and len(name) > MAX_NAME_BYTES):
        unreadable, name = _overlong(job_id, name or b""), (name or b"")[:MAX_NAME_BYTES]
    return Claim(
        id=_text(job_id),
        token=token,
        name=_text(name or b""),
        data=data or b"{}",
        opts=opts,
        raw_opts=raw_opts or b"{}",
        timestamp_ms=_int(timestamp),
        priority=_int(priority),
        attempts_made=_count(atm),
        attempts_started=_count(ats),
        stalls=_count(stc),
        crashes=_count(crashes),
        interruptions=_count(interruptions),
        processed_on_ms=_count(processed_on),
        checkpoint=None if checkpoint is None else _checkpoint(checkpoint),
        is_cancelled=cancelled is not None,
        deferred_failure=None if deferred is None else _text(deferred),
        unreadable=unreadable,
    )


def _readable(raw_opts: bytes, data_bytes: int, opts_bytes: int) -> tuple[JobOpts, str | None]:
    """The options, and why the job cannot be run if it cannot."""
    if opts_bytes > MAX_OPTS_BYTES:
        return JobOpts(), _oversize("options", opts_bytes, MAX_OPTS_BYTES)
    try:
        opts = _parse_short(raw_opts) if opts_bytes <= _SHORT_OPTS_BYTES else parse_opts(raw_opts)
    except ValueError as error:
        return JobOpts(), str(error)
    if data_bytes > MAX_DATA_BYTES:
        return opts, _oversize("data", data_bytes, MAX_DATA_BYTES)
    return opts, None


_parse_short = lru_cache(_OPTS_KEPT)(parse_opts)


def _checkpoint(raw: bytes) -> bytes | None:
    """What an attempt left, unless somebody else wrote what is none."""
    if len(raw) > MAX_CHECKPOINT_BYTES:
        return None
    try:
        raw.decode()
        _raw_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
    return raw


def _overlong(job_id: bytes, name: bytes) -> str:
    what, text = ("name", name) if len(name) > MAX_NAME_BYTES else ("id", job_id)
    return f"job {what} is {len(text)} bytes; at most {MAX_NAME_BYTES} are read"


def _oversize(what: str, found: int, limit: int) -> str:
    return f"job {what} are {found} bytes; at most {limit} are read"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _texts(reply: Any) -> list[str]:
    return [_text(raw) for raw in reply]


def _int(raw: bytes | None) -> int:
    if raw is None:
        return 0
    try:
        # Hardly any is written otherwise, and as a float each would take twice as long.
        number: float = int(raw)
    except ValueError:
        number = _float(raw)
    return int(number) if abs(number) < EXACT else 0


def _float(raw: bytes) -> float:
    try:
        return float(raw)
    except ValueError:
        return 0.0


def _count(raw: bytes | None) -> int:
    """A counter, as the scripts read it: what is none, or below 0, counts as 0."""
    return 0 if raw is None else max(_int(raw), 0)
