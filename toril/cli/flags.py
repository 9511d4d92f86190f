"""The flags of `toril run`: each fills one setting, and is what a message about it says.

A change must keep: a flag's text is handed on as it was typed; the schema reads and judges it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from toril.errors import InvalidOption

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from toril.cli.parser import Parser
    from toril.supervisor.config.toml_file import Keys

QUEUES = "queues"

KEEP_HELP = (
    "completed jobs that stay where a job's own options say nothing: 1000 (the newest), 24h (those "
    "younger), 1000,24h (both) or 0 (none)"
)


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: with its dashes.
        keys: the setting, within the queue's table for a flag of queues.
        metavar: stands for its value; empty for a switch.
        help: one line.
        kind: `text`; `many` may be given again; `switch` means true; `path` is many, made absolute.
    """

    name: str
    keys: Keys
    metavar: str
    help: str
    kind: Literal["text", "many", "switch", "path"] = "text"

    @property
    def attribute(self) -> str:
        """Where argparse puts it."""
        return self.name.removeprefix("--").replace("-", "_") + "_"

    def add_to(self, parser: Parser) -> None:
        """Let the parser know it."""
        given: dict[str, Any] = {"dest": self.attribute, "help": self.help}
        if self.kind == "switch":
            parser.add_argument(self.name, action="store_true", default=None, **given)
        elif self.kind == "text":
            parser.add_argument(self.name, metavar=self.metavar, **given)
        else:
            parser.add_argument(self.name, metavar=self.metavar, action="append", **given)

    def value(self, options: argparse.Namespace) -> Any:
        """What was typed; None: it was not given."""
        found = getattr(options, self.attribute, None)
        if found is not None and self.kind == "path":
            return [os.path.abspath(path) for path in found]  # noqa: PTH100 - it is text
        return found


def _of_queue(name: str, keys: str, metavar: str, text: str, kind: Any = "text") -> Flag:
    return Flag(name, tuple(keys.split(".")), metavar, text, kind)


TOP_FLAGS = (
    Flag("--redis", ("redis",), "URL", "server, or `embedded`; default: TORIL_REDIS_URL"),
    Flag("--prefix", ("prefix",), "PREFIX", "key prefix (default: bull)"),
    Flag("--drain-timeout", ("drain_timeout",), "T", "for running jobs at stop; default: 30s"),
    Flag("--health", ("health", "listen"), "ADDRESS", "for probes, such as 127.0.0.1:9464"),
    Flag("--log-level", ("log", "level"), "LEVEL", "debug, info, warning, error; default: info"),
    Flag("--log-format", ("log", "format"), "FORMAT", "auto, text or json; default: auto"),
    Flag("--redact", ("log", "redact"), "NAME", "mask values of this name in the log", "many"),
    Flag("--name", ("name",), "NAME", "of this worker; default: host and process id"),
)

QUEUE_FLAGS = (
    _of_queue("--processor", "processor", "MODULE:ATTRIBUTE", "a function, or a mapping"),
    _of_queue(
        "--concurrency", "concurrency", "N", "children, or 1-8; default: the usable CPU cores"
    ),
    _of_queue("--lock-duration", "lock_duration", "T", "default: 30s; renewed every quarter"),
    _of_queue("--stalled-interval", "stalled_interval", "T", "default: 30s"),
    _of_queue("--max-stalled", "max_stalled", "N", "recoveries before a job fails; default: 1"),
    _of_queue("--max-started-attempts", "max_started_attempts", "N", "of a job, then it fails"),
    _of_queue("--max-crashes", "max_crashes", "N", "child deaths before a job fails; default: 3"),
    _of_queue("--on-crash", "on_crash", "WHAT", "retry or fail; default: retry"),
    _of_queue("--rate-limit", "rate_limit", "N/T", "such as 200/60s, over all workers of a queue"),
    _of_queue("--burst", "rate_limit.burst", "N", "tokens a full bucket holds"),
    _of_queue("--remove-on-complete", "remove_on_complete", "RULE", KEEP_HELP),
    _of_queue("--remove-on-fail", "remove_on_fail", "RULE", "likewise, for failed jobs"),
    _of_queue("--backoff", "backoff", "MODULE:ATTRIBUTE", "back-off strategies by name"),
    _of_queue("--listeners", "listeners", "MODULE:ATTRIBUTE", "functions by event name"),
    _of_queue("--listener-timeout", "listener_timeout", "T", "for one event; default: 10s"),
    _of_queue("--metrics", "metrics", "N", "minutes of BullMQ metrics kept; default: 0"),
    _of_queue("--timeout", "timeout", "T", "of one attempt; default: 5m"),
    _of_queue("--soft-timeout", "soft_timeout", "T", "SoftTimeout is raised in the processor"),
    _of_queue("--level", "sandbox.level", "LEVEL", "isolation: process, restricted or strict"),
    _of_queue("--waive", "sandbox.waive", "NAME", "go without this mechanism", "many"),
    _of_queue("--memory", "sandbox.memory", "SIZE", "a job may add to its child; default: 512MiB"),
    _of_queue("--cpu", "sandbox.cpu", "T", "CPU time of one attempt; default: no limit"),
    _of_queue("--open-files", "sandbox.open_files", "N", "of one child; default: 256"),
    _of_queue("--max-threads", "sandbox.max_threads", "N", "of one child; default: 1000"),
    _of_queue("--result-size", "sandbox.result_size", "SIZE", "largest result; default: 1MiB"),
    _of_queue("--output-size", "sandbox.output_size", "SIZE", "output kept of one attempt"),
    _of_queue("--log-lines", "sandbox.log_lines", "N", "kept of one attempt; default: 1000"),
    _of_queue("--tmp-size", "sandbox.tmp_size", "SIZE", "of a child's work directory"),
    _of_queue("--jobs-per-child", "sandbox.max_jobs_per_child", "N", "default: 5000"),
    _of_queue("--child-age", "sandbox.max_child_age", "T", "before a child is replaced"),
    _of_queue("--child-growth", "sandbox.max_child_growth", "SIZE", "before it is replaced"),
    _of_queue("--import", "sandbox.import", "WHERE", "zygote or child; default: zygote"),
    _of_queue("--threads", "sandbox.threads", "N", "of numeric libraries in a child; default: 1"),
    _of_queue("--preload", "sandbox.preload", "MODULE", "imported once for all children", "many"),
    _of_queue("--child-uid", "sandbox.child_uid", "UID", "as root: the first of children's users"),
    _of_queue("--env", "sandbox.env", "NAME", "variable the processor may see", "many"),
    _of_queue("--allow-read", "sandbox.allow.read", "PATH", "processors may read it", "path"),
    _of_queue("--allow-write", "sandbox.allow.write", "PATH", "processors may write it", "path"),
    _of_queue("--allow-network", "sandbox.allow.network", "", "TCP connections", "switch"),
    _of_queue("--allow-exec", "sandbox.allow.exec", "", "other processes may be run", "switch"),
    _of_queue("--allow-queue", "sandbox.allow.queues", "NAME", "job.add() may add to it", "many"),
)


def given(
    options: argparse.Namespace, queues: Iterable[str]
) -> tuple[dict[str, Any], dict[Keys, str]]:
    """What the flags say: nested tables, and setting → flag.

    Args:
        options: as argparse found them.
        queues: to which of them flags of queues apply.

    Raises:
        InvalidOption: a burst without its rate.
    """
    values: dict[str, Any] = {}
    names: dict[Keys, str] = {}
    if options.burst_ is not None and options.rate_limit_ is None:
        raise InvalidOption("--burst is given without --rate-limit; expected both or neither")
    for flag in TOP_FLAGS:
        _put(values, names, flag.keys, flag, options)
    for queue in queues:
        for flag in QUEUE_FLAGS:
            _put(values, names, (QUEUES, queue, *flag.keys), flag, options)
    return values, names


def _put(
    values: dict[str, Any],
    names: dict[Keys, str],
    keys: Keys,
    flag: Flag,
    options: argparse.Namespace,
) -> None:
    value = flag.value(options)
    if value is None:
        return
    if flag.name == "--rate-limit" and options.burst_ is not None and "/" in value:
        tokens, _, per = value.partition("/")
        value = {"tokens": tokens, "per": per if per[:1].isdigit() else "1" + per}
    elif flag.name == "--allow-network":
        value = ["tcp"]
    *around, last = keys
    table = values
    for name in around:
        table = table.setdefault(name, {})
    table[last] = value
    names[keys] = flag.name
