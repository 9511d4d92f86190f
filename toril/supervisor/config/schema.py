"""The settings of `toril.toml`: their names, kinds and places.

A field is called as the value that it fills (`QueueSettings`, `Limits`, `Allow`, …), its alias as
the setting is called in a file. Defaults stand with those values, not here: a field that is not
given is not handed on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toril.sandbox.levels import Level
from toril.supervisor.config.kinds import (
    RATE,
    Children,
    Keep,
    Ms,
    Names,
    Seconds,
    Size,
    Text,
    Truth,
    Whole,
)


class Table(BaseModel):
    """A table of the file; unknown names in it are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self, *besides: str) -> dict[str, Any]:
        """Field → value of what was given, without the tables named in `besides`."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in besides}


def unset(alias: str | None = None, text: str | None = None) -> Any:
    """A setting that need not be given."""
    return Field(default=None, alias=alias, description=text)


class AllowTable(Table):
    """`[queues.NAME.sandbox.allow]`: what processors may have."""

    read: Names = unset(text="paths that may be read, with all below them")
    write: Names = unset(text="paths that may be read and written")
    network: Literal[False] | Names = unset(text='["tcp"], or false')
    exec: Truth = unset(text="start other processes")
    queues: Names = unset(text="further queues that job.add() may add to")


class SandboxTable(Table):
    """`[queues.NAME.sandbox]`: the walls and limits of a child."""

    level: Level = unset(text="process, restricted or strict")
    waive: Names = unset(text="mechanisms of the level whose absence here is accepted")
    env: Names = unset(text="environment variables that processors may see")
    tmp_size_bytes: Size = unset("tmp_size", "of a child's work directory")
    memory_bytes: Size = unset("memory", "that a job may add to its child")
    cpu_s: Seconds = unset("cpu", "CPU time of one attempt")
    open_files: Whole = unset(text="of one child")
    max_threads: Whole = unset(text="of one child; one with more is killed")
    result_bytes: Size = unset("result_size", "largest result")
    output_bytes: Size = unset("output_size", "log lines, stdout and stderr kept of one attempt")
    log_lines: Whole = unset(text="kept of one attempt")
    grace_s: Seconds = unset("grace", "between asking a processor to stop and killing its child")
    max_jobs: Whole = unset("max_jobs_per_child", "attempts before a child is replaced")
    max_age_s: Seconds = unset("max_child_age", "before a child is replaced")
    max_rss_growth_bytes: Size = unset("max_child_growth", "of a child before it is replaced")
    import_in: Literal["zygote", "child"] = unset("import", "where the processor is imported")
    preload: Names = unset(text="modules imported once for children that import the processor")
    child_uid: Whole = unset(text="as root: the first of the users that children run as")
    threads: Whole = unset(text="that numeric libraries may start in a child")
    allow: AllowTable = unset()


class RateTable(Table):
    """`rate_limit`: a token bucket over all workers of the queue."""

    tokens: Whole = Field(description="refilled per `per`")
    per_ms: Ms = Field(alias="per", description="the period")
    burst: Whole = unset(text="tokens that a full bucket holds; those of `tokens` unless given")
    revision: Whole = unset(text="replaces a limit in Redis that has a lower one")


_KEEP = 'jobs that stay where their own options say nothing: 1000, "24h", "1000,24h"'


class QueueTable(Table):
    """`[queues.NAME]`: one queue."""

    processor: Text = Field(description='"module:attribute": a function, or a mapping')
    concurrency: Children = unset(text='children; a number, "cores", or { min, max }')
    lock_ms: Ms = unset("lock_duration", "how long a job stays ours without renewal")
    stalled_interval_ms: Ms = unset("stalled_interval", "between looks for abandoned jobs")
    max_stalled: Whole = unset(text="recoveries of a job before it fails")
    max_started_attempts: Whole = unset(text="starts of a job before it fails")
    max_crashes: Whole = unset(text="child deaths before a job fails")
    on_crash: Literal["retry", "fail"] = unset(text="what a child's death does to its job")
    keep_completed: Keep = unset("remove_on_complete", f"completed {_KEEP}")
    keep_failed: Keep = unset("remove_on_fail", f"failed {_KEEP}")
    backoff: Text = unset(text='"module:attribute": back-off strategies by name')
    listeners: Text = unset(text='"module:attribute": functions by event name')
    listener_timeout_s: Seconds = unset("listener_timeout", "of a listener for one event")
    metrics_size: Whole = unset("metrics", "minutes of BullMQ's metrics that are kept")
    rate_limit: Annotated[RateTable, RATE] = unset()
    timeout_s: Seconds = unset("timeout", "of one attempt")
    soft_timeout_s: Seconds = unset("soft_timeout", "SoftTimeout is raised in the processor")
    sandbox: SandboxTable = unset()


class HealthTable(Table):
    """`health`: probes and metrics."""

    health_listen: Text = unset("listen", "HOST:PORT or unix:PATH for probes and metrics")


class LogTable(Table):
    """`[log]`: what the log says, and how."""

    level: Literal["debug", "info", "warning", "error"] = unset(text="the least that is said")
    format: Literal["auto", "text", "json"] = unset(text="auto: fields in the journal, else text")
    redact: Names = unset(text="names whose values are masked in what jobs print and fail with")


class ConfigTable(Table):
    """The whole file."""

    redis: Text = unset(text="redis://, rediss:// or unix:// URL, or embedded; no password")
    redis_password_file: Text = unset(text="a file that holds the password and nothing else")
    prefix: Text = unset(text="of the keys in Redis")
    worker_name: Text = unset("name", "of this worker, for BullMQ's list of workers")
    drain_timeout_ms: Ms = unset("drain_timeout", "for running jobs at a stop")
    health: HealthTable = unset()
    queues: dict[str, QueueTable] = Field(default_factory=dict, description="by name")
    log: LogTable = unset()
