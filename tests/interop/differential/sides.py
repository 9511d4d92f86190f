"""The two that carry a step out: BullMQ in Node, and toril's commands; both are told the time.

Both answer alike: a value, or `REFUSED` where the step could not be done. An error that is no
refusal is raised.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.interop.node import NodeError
from toril.call import Outcome, Verdict
from toril.errors import (
    BulkAddFailed,
    JobGone,
    JobLocked,
    JobNotInState,
    JobNotRemovable,
    ParentGone,
    ParentTaken,
    QueueActive,
)
from toril.runtime import administering, changing, deduplicating, limiting
from toril.runtime.claim import Claim, ClaimRequest, Report
from toril.runtime.claiming import claim_jobs, slot_after, sweep_stalled
from toril.runtime.dialog import call
from toril.runtime.drivers import BlockingDriver
from toril.runtime.newjob import NewJob
from toril.runtime.options import KEEP_ALL, Backoff, KeepRule
from toril.runtime.producing import Producer
from toril.runtime.reading import JobRecord
from toril.runtime.retry import Policy, decide, unrun
from toril.runtime.settling import Ending, Said, Settled, settle, store_report
from toril.runtime.ties import Deduplication, Parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.interop.differential.steps import Step
    from tests.interop.node import NodeDriver
    from toril.runtime.dialog import Packet

REFUSED = "refused"
LONG_MS = 30 * 86_400_000
"""Locks, and the time between two sweeps: the test ends them itself."""

_NODE_REFUSES = re.compile(
    "Missing key|Missing lock|is not in the|Lock mismatch|has pending dependencies"
    "|cannot be replaced|belongs to a job scheduler|at least one failed child"
    "|could not be removed because it is locked|has no children to wait for"
    "|Cannot obliterate|job ID already exists|already have jobs"
)
_TORIL_REFUSES = (
    JobGone, JobLocked, JobNotInState, JobNotRemovable, ParentGone, ParentTaken, QueueActive,
)  # fmt: skip
_STILL_OURS = {Settled.PENDING_CHILDREN, Settled.FAILED_CHILDREN, Settled.NO_CHILDREN}
_POLICY = Policy(metrics_size=5)


class NodeSide:
    """BullMQ on one of the servers."""

    def __init__(self, driver: NodeDriver) -> None:
        self._driver = driver

    def open(self, queues: tuple[str, ...]) -> None:
        """Forget what was claimed, and have the queues ready."""
        self._driver.call("openQueues", queues=queues)

    def run(self, step: Step, now_ms: int) -> Any:
        """The answer to a step."""
        act = "add" if step.act == "add_by_node" else step.act
        try:
            answer = self._driver.call(
                "replay", now=now_ms, act=act, queue=step.queue, args=step.args
            )
        except NodeError as error:
            if _NODE_REFUSES.search(str(error)):
                return REFUSED
            raise
        if step.args.get("method") == "remove":
            return REFUSED if answer == 0 else "done"
        if act == "add":
            return answer if all(isinstance(one, str) for one in answer) else REFUSED
        return answer if act == "claim" else "done"


class ClockedDriver(BlockingDriver):
    """Runs programs; every script is told the test's time instead of asking the server."""

    now_ms = 0

    def _exchanged(self, packets: tuple[Packet, ...]) -> Any:
        return super()._exchanged(tuple(map(self._clocked, packets)))

    def _clocked(self, packet: Packet) -> Packet:
        if packet[0] != "EVALSHA":
            return packet
        first = 3 + int(packet[2])
        return (*packet[:first], self.now_ms, *packet[first + 1 :])


@dataclass
class TorilSide:
    """toril on the other one."""

    url: str
    claims: dict[str, Claim] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._driver = ClockedDriver(self.url)

    def run(self, step: Step, now_ms: int) -> Any:
        """The answer to a step."""
        self._driver.now_ms = now_ms
        base = f"bull:{step.queue}:"
        try:
            return getattr(self, f"_{step.act}")(base, step.queue, **step.args)
        except _TORIL_REFUSES:
            return REFUSED

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def _add(self, _base: str, queue: str, jobs: list[dict[str, Any]]) -> list[str]:
        producer = Producer(queue)
        if len(jobs) == 1:
            (one,) = jobs
            options = _options(one["opts"])
            added = producer.add(one["name"], one["data"], options, JobRecord)
            return [self._driver.run(added).id]
        new = [NewJob(one["name"], one["data"], **_options(one["opts"])) for one in jobs]
        try:
            return [job.id for job in self._driver.run(producer.add_bulk(new, JobRecord))]
        except BulkAddFailed as error:
            raise next(iter(error.failed.values())) from error

    def _claim(self, base: str, _queue: str, tokens: list[str]) -> list[Any]:
        """Asked again as long as a schedule's next slot has to be told."""
        left, slot, claims = tokens, None, []
        while left:
            request = ClaimRequest(len(left), LONG_MS)
            command = claim_jobs(base, request, left, worker_name="worker", slot=slot)
            claimed = self._driver.run(call(command))
            claims += claimed.claims
            left, slot = left[len(claimed.claims) :], slot_after(claimed)
            if slot is None:
                break
        self.claims |= {claim.token: claim for claim in claims}
        return [
            [one.id, one.attempts_made, one.attempts_started, one.deferred_failure]
            for one in claims
        ]

    def _complete(self, base: str, _queue: str, token: str, value: Any) -> str:
        text = json.dumps(value).encode()
        return self._end(base, token, Outcome(Verdict.RETURNED, value=text))

    def _fail(self, base: str, _queue: str, **args: Any) -> str:
        claim = self.claims[args["token"]]
        verdict = Verdict.UNRECOVERABLE if args["final"] else Verdict.RAISED
        said = Outcome(verdict, message=args["message"], stack=args["stack"])
        outcome = unrun(claim, _POLICY) if claim.deferred_failure is not None else said
        return self._end(base, claim.token, outcome or said)

    def _delay(self, base: str, _queue: str, token: str, ms: int) -> str:
        return self._end(base, token, Outcome(Verdict.DELAYED, detail={"delay_ms": ms}))

    def _give_back(self, base: str, _queue: str, token: str) -> str:
        return self._end(base, token, Outcome(Verdict.INTERRUPTED))

    def _hold(self, base: str, _queue: str, token: str, ms: int) -> str:
        return self._end(base, token, Outcome(Verdict.RATE_LIMITED, detail={"delay_ms": ms}))

    def _wait_for_children(self, base: str, _queue: str, token: str) -> str:
        return self._end(base, token, Outcome(Verdict.WAITING_CHILDREN))

    def _end(self, base: str, token: str, outcome: Outcome) -> str:
        claim = self.claims[token]
        ending = Ending(claim, decide(claim, outcome, _POLICY, 0.0), outcome)
        command = settle(base, ending)
        settled = self._driver.run(call(command)) if command else Settled.DONE
        if settled not in _STILL_OURS:
            del self.claims[token]
        return "done" if settled is Settled.DONE else REFUSED

    def _report(self, base: str, _queue: str, token: str, **said: Any) -> str:
        progress, data = (
            None if said[name] is None else _json(said[name]) for name in ("progress", "data")
        )
        report = Report(self.claims[token], progress, tuple(said["lines"]), data)
        before = self.said.get(token, Said())
        answer = self._driver.run(call(store_report(base, report, before)))
        self.said[token] = before.with_report(report)
        return "done" if answer is Settled.DONE else REFUSED

    def _sweep(self, base: str, _queue: str) -> str:
        self._driver.run(call(sweep_stalled(base, 1, LONG_MS)))
        return "done"

    def _on_queue(self, base: str, _queue: str, method: str, args: list[Any]) -> str:
        self._driver.run(_QUEUE[method](base, *args))
        return "done"

    def _on_job(self, base: str, _queue: str, method: str, args: list[Any], **on: str) -> str:
        self._driver.run(_JOB[method](base, on["id"], *args))
        return "done"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _ms(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


def _options(opts: Mapping[str, Any]) -> dict[str, Any]:
    """BullMQ's options as `NewJob` takes them."""
    named = {name: re.sub("(?=[A-Z])", "_", name).lower() for name in opts}
    return {named[name]: _READ.get(name, lambda same: same)(value) for name, value in opts.items()}


def _keep(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    rule = {"count": value.get("count", KEEP_ALL), "age_s": value.get("age")}
    return KeepRule(**rule, **{"limit": value["limit"]} if "limit" in value else {})


def _deduplication(value: dict[str, Any]) -> Deduplication:
    flags = {re.sub("(?=[A-Z])", "_", name).lower(): flag for name, flag in value.items()}
    return Deduplication(
        flags.pop("id"), ttl=_ms(flags.pop("ttl")) if "ttl" in flags else None, **flags
    )


_READ: dict[str, Callable[[Any], Any]] = {
    "delay": _ms,
    "backoff": lambda value: Backoff(value["type"], value["delay"]),
    "removeOnComplete": _keep,
    "removeOnFail": _keep,
    "deduplication": _deduplication,
    "parent": lambda value: Parent(value["id"], value["queue"]),
}

_QUEUE: dict[str, Callable[..., Any]] = {
    "remove": lambda base, job_id, how: changing.remove(
        base, job_id, remove_children=how["removeChildren"]
    ),
    "removeDeduplicationKey": deduplicating.remove_deduplication_key,
    "pause": administering.pause,
    "resume": administering.resume,
    "promoteJobs": lambda base, how: administering.promote_jobs(base, **how),
    "retryJobs": lambda base, how: administering.retry_jobs(base, **how),
    "drain": lambda base, delayed: administering.drain(base, delayed=delayed),
    "clean": lambda base, ms, limit, state: administering.clean(base, _ms(ms), limit, state),
    "obliterate": lambda base, how: administering.obliterate(base, **how),
    "setGlobalConcurrency": limiting.set_global_concurrency,
    "removeGlobalConcurrency": limiting.remove_global_concurrency,
    "setGlobalRateLimit": lambda base, most, ms: limiting.set_global_rate_limit(
        base, most, _ms(ms)
    ),
    "removeGlobalRateLimit": limiting.remove_global_rate_limit,
    "rateLimit": lambda base, ms: limiting.rate_limit(base, _ms(ms)),
    "removeRateLimitKey": limiting.remove_rate_limit_key,
    "trimEvents": administering.trim_events,
}
_JOB: dict[str, Callable[..., Any]] = {
    "promote": changing.promote,
    "retry": lambda base, job_id, state, resets: changing.retry(
        base,
        job_id,
        state,
        reset_attempts_made=resets["resetAttemptsMade"],
        reset_attempts_started=resets["resetAttemptsStarted"],
    ),
    "changeDelay": lambda base, job_id, ms: changing.change_delay(base, job_id, _ms(ms)),
    "changePriority": lambda base, job_id, how: changing.change_priority(base, job_id, **how),
    "updateData": changing.update_data,
    "updateProgress": changing.update_progress,
    "log": changing.log,
    "clearLogs": changing.clear_logs,
    "removeDeduplicationKey": deduplicating.remove_own_deduplication_key,
}
"""BullMQ's methods in toril."""
