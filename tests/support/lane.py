"""One queue in a real server, at a time of the test's choosing: put jobs in, run a script, look.

`Lane` uses the production commands with a blocking client; `now_ms` is what the scripts take for
the server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from toril.call import Outcome, Verdict
from toril.runtime.adding import RequestKey, add_calls
from toril.runtime.claim import Claim, Claimed, ClaimRequest
from toril.runtime.claiming import claim_jobs
from toril.runtime.newjob import NewJob
from toril.runtime.preparing import prepare
from toril.runtime.scripts import script
from toril.runtime.settling import Ending, Settled, settle

if TYPE_CHECKING:
    import redis

    from toril.errors import TorilError
    from toril.runtime.adding import Added
    from toril.runtime.command import Command
    from toril.runtime.limiter import RateLimit
    from toril.runtime.retry import Settlement

START_MS = 1_795_000_000_000
LOCK_MS = 30_000
RETURNED = Outcome(Verdict.RETURNED, value=b'{"ok":1}')
RAISED = Outcome(Verdict.RAISED, message="boom", stack="Traceback\nboom")


@dataclass
class Lane:
    """A queue `bull:lane`, and the clock its scripts see."""

    client: redis.Redis
    now_ms: int = START_MS
    base: str = "bull:lane:"
    tokens: list[str] = field(default_factory=list)
    batches: int = 0

    def run(self, command: Command[Any]) -> Any:
        """The parsed reply of a command."""
        text = script(command.script).text
        reply = self.client.eval(text, len(command.keys), *command.keys, *command.args)
        return command.parse(reply)

    def key(self, suffix: str) -> str:
        """The full key of the queue's `suffix`."""
        return self.base + suffix

    def store(self, job_id: str, **fields: Any) -> str:
        """A job's hash, in no list."""
        minimal = {"name": "n", "data": "{}", "opts": "{}", "timestamp": START_MS}
        self.client.hset(self.key(job_id), mapping=minimal | {"delay": 0, "priority": 0} | fields)
        return job_id

    def wait(self, job_id: str, **fields: Any) -> str:
        """A job at the back of the waiting ones."""
        self.client.lpush(self.key("wait"), self.store(job_id, **fields))
        return job_id

    def prioritize(self, job_id: str, priority: int, **fields: Any) -> str:
        """A job behind those of its priority."""
        self.store(job_id, priority=priority, **fields)
        order = self.client.incr(self.key("pc"))
        self.client.zadd(self.key("prioritized"), {job_id: priority * 2**32 + order})
        return job_id

    def delay(self, job_id: str, at_ms: int, **fields: Any) -> str:
        """A job that is due at `at_ms`."""
        self.store(job_id, delay=1, **fields)
        self.client.zadd(self.key("delayed"), {job_id: at_ms * 4096})
        return job_id

    def add(self, name: str = "n", data: Any = None, **options: Any) -> Added | TorilError:
        """Add a job as a producer does."""
        self.batches += 1
        job = prepare(NewJob(name, data, **options))
        (call,) = add_calls(self.base, [job], range(1), RequestKey("nonce", self.batches))
        command = replace(call.command, args=(self.now_ms, *call.command.args[1:]))
        (added,) = self.run(command)
        return added

    def claim(
        self, count: int = 1, *, limit: RateLimit | None = None, worker_name: str = ""
    ) -> Claimed:
        """Claim up to `count` jobs with fresh tokens."""
        tokens = [f"token:{len(self.tokens) + n}" for n in range(count)]
        self.tokens += tokens
        request = ClaimRequest(count, LOCK_MS, limit)
        command = claim_jobs(
            self.base, request, tokens, worker_name=worker_name, now_ms=self.now_ms
        )
        claimed: Claimed = self.run(command)
        return claimed

    def claim_new(self, job_id: str = "1", **fields: Any) -> Claim:
        """Put one job in and claim it; the events so far are forgotten."""
        self.wait(job_id, **fields)
        (claim,) = self.claim().claims
        self.client.delete(self.key("events"), self.key("marker"))
        return claim

    def settle(self, claim: Claim, settlement: Settlement, outcome: Outcome = RAISED) -> Settled:
        """Write a settlement."""
        command = settle(self.base, Ending(claim, settlement, outcome), now_ms=self.now_ms)
        assert command is not None
        settled: Settled = self.run(command)
        return settled

    def job(self, job_id: str) -> dict[str, str]:
        """The job's hash as text."""
        fields = self.client.hgetall(self.key(job_id))
        return {name.decode(): value.decode() for name, value in fields.items()}

    def ids(self, name: str) -> list[str]:
        """Ids in a list (head first) or a sorted set (lowest first)."""
        key = self.key(name)
        found = (
            self.client.lrange(key, 0, -1)
            if self.client.type(key) in {b"list", b"none"}
            else self.client.zrange(key, 0, -1)
        )
        return [raw.decode() for raw in found]

    def scores(self, name: str) -> dict[str, float]:
        """Member → score of a sorted set."""
        found = self.client.zrange(self.key(name), 0, -1, withscores=True)
        return {member.decode(): score for member, score in found}

    def events(self) -> list[dict[str, str]]:
        """The event stream's entries, oldest first."""
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for _id, fields in self.client.xrange(self.key("events"))
        ]

    def event_names(self) -> list[str]:
        """Only the events' names."""
        return [entry["event"] for entry in self.events()]
