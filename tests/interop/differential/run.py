"""One sequence on both sides: resolve, carry out, look, compare, go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.interop.differential.accepted import evened, is_avoided
from tests.interop.differential.keyspace import Keyspace, Look, differences
from tests.interop.differential.resolving import step_of
from tests.interop.differential.sides import LONG_MS, NodeSide, TorilSide
from tests.interop.differential.steps import QUEUES, SETTLING, Held, World

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis

    from tests.interop.differential.steps import Step, Wish

START_MS = 1_795_000_000_000
_MINUTE_MS = 60_000

_LET_TIME_PASS = """#!lua
for _, key in ipairs(redis.call('KEYS', '*')) do
  local ttl_ms = redis.call('PTTL', key)
  if ttl_ms > 0 and not key:find(':toril:last:', 1, true) then
    redis.call('PEXPIRE', key, ttl_ms - ARGV[1])
  end
end
"""


class Diverged(AssertionError):
    """The two sides left different things; says after which steps."""


@dataclass
class Stage:
    """Both servers with what works on them.

    Attributes:
        node_client: on Node's server; likewise `toril_client`.
        node: BullMQ on Node's server.
        foreign: BullMQ on toril's server, for what toril cannot add.
        toril: toril on its server.
    """

    node_client: redis.Redis
    toril_client: redis.Redis
    node: NodeSide
    foreign: NodeSide
    toril: TorilSide

    def clear(self) -> None:
        """Empty both."""
        for side in (self.node, self.foreign):
            side.open(QUEUES)
        for client in (self.node_client, self.toril_client):
            client.flushall()
        self.toril.claims.clear()
        self.toril.said.clear()


@dataclass
class Run:
    """A sequence under way on an empty stage."""

    stage: Stage
    now_ms: int = START_MS
    done: list[tuple[Step, Any]] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stage.clear()
        self._node, self._toril = Look(self.stage.node_client), Look(self.stage.toril_client)
        self._keys: Keyspace = {}

    def play(self, wishes: Iterable[Wish]) -> None:
        """Carry all of it out.

        Raises:
            Diverged: at the first step after which the sides differ.
        """
        for wish in wishes:
            world = World(self._keys, tuple(self.held.values()), len(self.done), self.now_ms)
            step = step_of(wish, world)
            if step is not None and not is_avoided(step, world):
                self._take(step)

    def _take(self, step: Step) -> None:
        try:
            answers = self._answers(step)
        except Exception as error:
            error.add_note(self._told([f"step: {step}"]))
            raise
        self.done.append((step, answers[1]))
        node, toril = self._node.read(), self._toril.read()
        commands = evened(step, node, toril)
        if commands:
            for command in commands:
                self.stage.node_client.execute_command(*command)
            fresh = self._node.read()
            node = {
                key: node[key] if entry.kind == "stream" and key in node else entry
                for key, entry in fresh.items()
            }
        found = differences(node, toril)
        if answers[0] != answers[1]:
            found += ["the answer", f"    node   {answers[0]}", f"    toril  {answers[1]}"]
        if found:
            raise Diverged(self._told(found))
        self._keys = toril
        self._note(step, answers[1])

    def _answers(self, step: Step) -> tuple[Any, Any]:
        match step.act:
            case "pass_time" | "lose_lock" | "steal_lock":
                return getattr(self, f"_{step.act}")(step), None
            case "flow" | "add_by_node" | "schedule":
                sides = (self.stage.node, self.stage.foreign)
                return sides[0].run(step, self.now_ms), sides[1].run(step, self.now_ms)
            case "sweep":
                for client in (self.stage.node_client, self.stage.toril_client):
                    client.delete(f"bull:{step.queue}:stalled-check")
        return self.stage.node.run(step, self.now_ms), self.stage.toril.run(step, self.now_ms)

    def _pass_time(self, step: Step) -> None:
        ms = step.args["ms"]
        self.now_ms += ms
        if ms >= _MINUTE_MS:
            for client in (self.stage.node_client, self.stage.toril_client):
                client.eval(_LET_TIME_PASS, 0, ms)

    def _lose_lock(self, step: Step) -> None:
        for client in (self.stage.node_client, self.stage.toril_client):
            client.delete(f"bull:{step.queue}:{step.args['id']}:lock")

    def _steal_lock(self, step: Step) -> None:
        for client in (self.stage.node_client, self.stage.toril_client):
            client.set(f"bull:{step.queue}:{step.args['id']}:lock", "a thief", px=LONG_MS)

    def _note(self, step: Step, answer: Any) -> None:
        if step.act == "claim":
            for token, (job_id, _made, started, deferred) in zip(
                step.args["tokens"], answer, strict=False
            ):
                self.held[token] = Held(token, step.queue, job_id, started, deferred)
        elif step.act in SETTLING and step.args["token"] not in self.stage.toril.claims:
            self.held.pop(step.args["token"])

    def _told(self, found: list[str]) -> str:
        silent = {None, "done"}
        steps = [
            f"  {step}" + ("" if str(answer) in map(str, silent) else f" -> {answer}")
            for step, answer in self.done
        ]
        return "\n".join(["the steps:", *steps, "what differs:", *(f"  {one}" for one in found)])
