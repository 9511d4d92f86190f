"""The one place where events become words; `rendering.py` has the forms that these take.

The table at the end names level and wording of every event; nothing else in the house logs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self, TextIO

from msgspec.structs import replace

from toril import events as ev
from toril import lifecycle, rendering
from toril.correlation import of_job
from toril.journal import Journal
from toril.line_writer import LineWriter, to_stream
from toril.log_settings import LEVELS, LogSettings
from toril.redaction import redactor
from toril.units import format_ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

FREE_TEXT = ("line", "reason", "stack", "traceback", "how", "remedy")
"""Fields of events that hold what jobs and errors say, from which secrets are masked."""


class Log:
    """Writes events as lines to a stream; call it with an event. A context manager.

    It never waits for whoever reads the stream: a slow reader costs lines, output of jobs first,
    and is told how many.

    Args:
        stream: where lines go; standard error by default, standard output is for data.
        told: level, form and what is masked.
        journal: the path of the journal's socket, when the stream is the journal: entries go there
            with their fields, unless `told` wants a form of its own.
    """

    def __init__(
        self, stream: TextIO | None = None, told: LogSettings | None = None, *, journal: str = ""
    ) -> None:
        told = told or LogSettings()
        write_out = to_stream(stream or sys.stderr)
        self._journal: Journal | None = None
        self._form = rendering.as_json if told.format == "json" else rendering.as_text
        self._say: Callable[[str], bytes] = rendering.line
        if journal and told.format == "auto":
            self._form, self._say = rendering.as_journal, rendering.said_to_journal
            self._journal = Journal(write_out, journal)
            write_out = self._journal.write
        self._least = LEVELS[told.level]
        self._redacted = redactor(told.redact)
        self._writer = LineWriter(write_out, self._dropped)

    def __call__(self, event: ev.Event) -> None:
        """Write one event; a stream that is gone (closed pipe) silences the log, not the work."""
        level, words = _WORDS[type(event)]
        if not isinstance(level, str):
            level = level(event)
        if _NUMBERS[level] >= self._least:
            event = self._without_secrets(event)
            data = self._form(event, level, words(event))
            self._writer.write(data, is_minor=type(event) is ev.JobOutput)

    def say(self, text: str) -> None:
        """Write text for people as it is, line by line: the last words of a command."""
        for line in self._redacted(text).split("\n"):
            self._writer.write(self._say(line))

    def close(self) -> None:
        """Write what waits, for about a second at most; what comes later is forgotten."""
        self._writer.close()
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _dropped(self, count: int) -> bytes:
        event = ev.LogLinesDropped(count)
        level, words = _WORDS[ev.LogLinesDropped]
        return self._form(event, str(level), words(event))

    def _without_secrets(self, event: ev.Event) -> ev.Event:
        masked = {}
        for name in _FREE_FIELDS[type(event)]:
            text = getattr(event, name)
            if text and (clean := self._redacted(text)) != text:
                masked[name] = clean
        return replace(event, **masked) if masked else event


def _job(e: Any) -> str:
    """The job of an event, with the correlation id that somebody gave it."""
    given = e.correlation_id and e.correlation_id != of_job(e.queue, e.job_id)
    return f"{e.queue} job {e.job_id or '-'}" + (f" [{e.correlation_id}]" if given else "")


def _output_level(e: ev.JobOutput) -> str:
    return e.severity if e.severity in _NUMBERS else "INFO"


def _output(e: ev.JobOutput) -> str:
    of = _job(e) if e.job_id else e.queue
    return f"{of} {e.stream}{' ' if e.logger else ''}{e.logger}: {e.line}"


def _settled(e: ev.JobSettled) -> str:
    waited = "?" if e.wait_ms is None else format_ms(e.wait_ms)
    cpu = "" if e.cpu_ms is None else f", cpu {format_ms(e.cpu_ms)}"
    is_named = not e.error_name or e.reason.startswith(e.error_name)
    parts = [part for part in ("" if is_named else e.error_name, e.reason) if part]
    return (
        f"{_job(e)} {e.name} attempt {e.attempt} {e.verdict} -> {e.settled} "
        f"(waited {waited}, ran {format_ms(e.run_ms)}{cpu})" + "".join(f": {p}" for p in parts)
    )


def _started(e: ev.WorkerStarted) -> str:
    return (
        f"{e.queue}: {e.concurrency} {'child runs' if e.concurrency == 1 else 'children run'} "
        f"{e.processor} at level `{e.isolation}`"
        f"{_LEVEL_WORDS.get(e.isolation, '')}, jobs from {e.redis}"
    )


def _paused(e: ev.ClaimingPaused) -> str:
    return f"{e.queue}: claiming is paused: {e.reason}" + (f". {e.remedy}" if e.remedy else "")


def _listener(e: ev.ListenerFailed) -> str:
    of_job = f" of job {e.job_id}" if e.job_id else ""
    places = [line.strip() for line in e.stack.splitlines() if line.startswith("  File ")]
    where = f" ({places[-1]})" if places else ""
    again = f"; {e.failures} times since it was last told" if e.failures > 1 else ""
    return f"{e.queue}: listener {e.listener}{of_job} failed: {e.reason}{where}{again}"


def _drain(e: ev.Draining) -> str:
    return (
        f"{e.queue}: stopping; {_count(e.running, 'running job has', 'running jobs have')} "
        f"{format_ms(e.timeout_ms)} to end; a second signal stops at once"
    )


def _deadline(e: ev.DrainDeadline) -> str:
    jobs = _count(e.running, "running job goes", "running jobs go")
    return f"{e.queue}: time is over; {jobs} back to the queue"


def _reloaded(e: lifecycle.Reloaded) -> str:
    changed = f"changed: {', '.join(e.applied)}" if e.applied else "no setting changed"
    waiting = f"; needs a restart: {', '.join(e.waiting)}" if e.waiting else ""
    return f"reloaded, new jobs run by the new code; {changed}{waiting}"


def _not_reloaded(e: lifecycle.ReloadFailed) -> str:
    trace = f"\n{e.traceback}" if e.traceback else ""
    return f"reload refused, everything goes on as before: {e.reason}{trace}"


def _dumped(e: lifecycle.StateDumped) -> str:
    children = [
        f"{one.slot}: pid {one.pid or '-'} {one.state}"
        + (f" job {one.job_id} for {format_ms(one.since_ms or 0)}" if one.job_id else "")
        for one in e.children
    ]
    margin = "" if e.margin_ms is None else f", the first runs out in {format_ms(e.margin_ms)}"
    return (
        f"{e.queue}: {e.stage}, {'; '.join(e.complaints) or 'healthy'}; "
        f"concurrency {e.concurrency}, zygotes {', '.join(map(str, e.zygotes)) or '-'}; "
        f"{_count(e.held, 'lock', 'locks')} held{margin}; {e.unrecorded} unrecorded; "
        f"limits: {e.limits}; children: {', '.join(children) or '-'}"
    )


def _stack(e: lifecycle.StackDumped) -> str:
    whose = f"{e.queue} job {e.job_id} in child {e.pid}" if e.queue else f"supervisor {e.pid}"
    return f"stack of {whose}:\n{e.stack or '(it does not answer)'}"


def _stalled(e: ev.StalledRecovered) -> str:
    jobs = "a stalled job is" if len(e.job_ids) == 1 else "stalled jobs are"
    return f"{e.queue}: {jobs} back in the queue: {', '.join(e.job_ids)}"


def _unset(e: ev.VariablesUnset) -> str:
    variables = "a variable" if len(e.names) == 1 else "variables"
    return (
        f"{e.queue}: --env names {variables} that the environment does not have: "
        f"{', '.join(e.names)}; the processor will not find {'it' if len(e.names) == 1 else 'them'}"
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


_LEVEL_WORDS = {"process": " (against crashes, leaks and loops; no security claim)"}
_NUMBERS = {name.upper(): number for name, number in LEVELS.items()}

_WORDS: dict[type, tuple[str | Callable[[Any], str], Callable[[Any], str]]] = {
    ev.LogLinesDropped: (
        "WARNING",
        lambda e: f"log reader is slow: {_count(e.count, 'line', 'lines')} dropped",
    ),
    ev.VariablesUnset: ("WARNING", _unset),
    ev.WorkerStarted: ("INFO", _started),
    ev.LevelWeakened: (
        "WARNING",
        lambda e: (
            f"{e.queue}: level `{e.isolation}` is worked without {', '.join(e.missing)}: "
            "waived in the settings"
        ),
    ),
    ev.LimitDiffers: (
        "WARNING",
        lambda e: (
            f"{e.queue}: the rate limit in Redis is {e.in_force}, configured is {e.configured}; "
            "Redis' applies. Set it with `toril queue limits`, or raise the configured revision"
        ),
    ),
    ev.JobSettled: (lambda e: "WARNING" if e.settled == "failed" else "INFO", _settled),
    ev.JobAdded: ("DEBUG", lambda e: f"{_job(e)} {e.name} added by job {e.by_job_id}"),
    ev.JobActive: ("DEBUG", lambda e: f"{_job(e)} {e.name} attempt {e.attempt} active"),
    ev.JobOutput: (_output_level, _output),
    ev.LockLost: (
        "WARNING",
        lambda e: f"{_job(e)}: lock lost; its child is killed, its result refused",
    ),
    ev.SettlementRefused: (
        "ERROR",
        lambda e: f"{_job(e)}: end of attempt ({e.verdict}) not written: {e.reason}",
    ),
    ev.ReportRefused: (
        "WARNING",
        lambda e: f"{_job(e)}: progress or log not written: {e.reason}",
    ),
    ev.RedisFailed: ("ERROR", lambda e: f"{e.queue}: {e.what} fails: {e.reason}"),
    ev.UpkeepFailed: (
        "ERROR",
        lambda e: f"{e.queue}: looking for stalled jobs fails: {e.reason}",
    ),
    ev.GhostsRemoved: (
        "WARNING",
        lambda e: f"{e.queue}: removed {_count(e.count, 'id', 'ids')} without a job from the queue",
    ),
    ev.StalledRecovered: ("WARNING", _stalled),
    ev.ChildGone: (
        "WARNING",
        lambda e: f"{e.queue}: child {e.pid} {e.how}; another takes its place",
    ),
    ev.ClaimingPaused: ("ERROR", _paused),
    ev.ClaimingResumed: ("INFO", lambda e: f"{e.queue}: claiming goes on"),
    ev.ListenerFailed: ("WARNING", _listener),
    ev.ListenerEventsDropped: (
        "WARNING",
        lambda e: f"{e.queue}: {_count(e.dropped, 'event', 'events')} for listeners dropped so far",
    ),
    ev.ListenersPaused: (
        "ERROR",
        lambda e: (
            f"{e.queue}: no child for the listeners, jobs go on: {e.reason}"
            + (f". {e.remedy}" if e.remedy else "")
        ),
    ),
    ev.ListenersResumed: ("INFO", lambda e: f"{e.queue}: listeners have a child again"),
    ev.RedisLost: (
        "ERROR",
        lambda e: f"{e.queue}: no Redis; running jobs go on, it is tried again: {e.reason}",
    ),
    ev.RedisBack: (
        "INFO",
        lambda e: (
            f"{e.queue}: Redis is back after {format_ms(e.away_ms)}, "
            f"{_count(e.held, 'job', 'jobs')} held"
        ),
    ),
    ev.Draining: ("INFO", _drain),
    ev.DrainDeadline: ("WARNING", _deadline),
    lifecycle.Quiet: (
        "INFO",
        lambda e: (
            f"{e.queue}: quiet, nothing more is claimed; "
            f"{_count(e.running, 'running job goes', 'running jobs go')} on; SIGCONT resumes"
        ),
    ),
    lifecycle.Resumed: ("INFO", lambda e: f"{e.queue}: resumed, jobs are claimed again"),
    lifecycle.StateDumped: ("INFO", _dumped),
    lifecycle.Scaled: (
        "INFO",
        lambda e: (
            f"{e.queue}: {_count(e.after, 'child', 'children')} instead of {e.before}"
            + (f", {_count(e.backlog, 'job waits', 'jobs wait')}" if e.backlog else "")
        ),
    ),
    lifecycle.Reloading: ("INFO", lambda _: "reloading configuration and code"),
    lifecycle.Reloaded: (lambda e: "WARNING" if e.waiting else "INFO", _reloaded),
    lifecycle.ReloadFailed: ("ERROR", _not_reloaded),
    lifecycle.StackDumped: ("INFO", _stack),
    ev.Unrecorded: (
        "ERROR",
        lambda e: (
            f"{e.queue}: stopped without Redis; not recorded, will run again: "
            f"{', '.join(e.job_ids)}"
        ),
    ),
    ev.WorkerStopped: (
        "INFO",
        lambda e: f"{e.queue}: stopped after {_count(e.settled, 'attempt', 'attempts')}",
    ),
    lifecycle.HealthListening: (
        "INFO",
        lambda e: f"health and metrics at {e.address}: /livez /readyz /metrics",
    ),
    lifecycle.HealthExposed: (
        "WARNING",
        lambda e: (
            f"health and metrics at {e.address} can be read by other hosts, without a password; "
            "listen on 127.0.0.1 or unix:/path, or let a firewall choose who may ask"
        ),
    ),
    lifecycle.RedisSlow: (
        "WARNING",
        lambda e: (
            f"Redis took {e.round_trip_ms} ms, and more than {e.bound_ms} ms {e.times} times in "
            "a row: every job pays for that. Look at the way there (ping), at its load "
            "(redis-cli --latency, SLOWLOG GET), and at the load of this host"
        ),
    ),
    lifecycle.HeartbeatRefused: (
        "WARNING",
        lambda e: f"`toril status` of others does not see this supervisor; jobs go on: {e.reason}",
    ),
}
"""Kind of event → level, or what tells it, and words."""

_FREE_FIELDS = {
    kind: tuple(name for name in rendering.field_names(kind) if name in FREE_TEXT)
    for kind in _WORDS
}
