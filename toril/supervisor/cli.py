"""The `toril` command: which verbs there are and how they are spelled.

Nothing heavy is imported before a verb is known; each verb's module does its own work.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from toril import __version__
from toril.errors import InvalidInput, TorilError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_VERBS = {
    "run": "toril.supervisor.run",
    "add": "toril.supervisor.add",
    "doctor": "toril.supervisor.doctor",
    "demo": "toril.demo.main",
    "jobs": "toril.supervisor.jobs",
    "embedded": "toril.supervisor.embedded_cli",
}

REDIS_HELP = (
    "redis://, rediss:// or unix:// URL, or `embedded`; a password belongs into TORIL_REDIS_URL, "
    "command lines are public"
)

KEEP_HELP = (
    "completed jobs that stay where a job's own options say nothing: 1000 (the newest), 24h (those "
    "younger), 1000,24h (both) or 0 (none)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns a sysexits code.

    A command line that cannot be read is 64 (EX_USAGE), a value that cannot be used is 78
    (EX_CONFIG), what is not there now is 69 (EX_UNAVAILABLE).
    """
    options = _parser().parse_args(arguments)
    verb = importlib.import_module(_VERBS[options.verb])
    try:
        return int(verb.main(options))
    except InvalidInput as error:
        return _say(f"toril {options.verb}: {error}", os.EX_CONFIG)
    except TorilError as error:
        return _say(f"toril {options.verb}: {error}", os.EX_UNAVAILABLE)
    except KeyboardInterrupt:
        return 130


def _say(message: str, code: int) -> int:
    sys.stderr.write(message + "\n")
    return code


class _Parser(argparse.ArgumentParser):
    """A parser, of toril or of one verb, that answers with its own usage and EX_USAGE."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown flags or words: {' '.join(unknown)}")
        return found, unknown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="toril",
        description="Runs BullMQ-compatible jobs in forked, supervised Python processes.",
    )
    parser.add_argument("--version", action="version", version=f"toril {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_run(verbs)
    _add_add(verbs)
    _add_demo(verbs)
    _add_doctor(verbs)
    _add_embedded(verbs)
    _add_jobs(verbs)
    return parser


def _add_run(verbs: argparse._SubParsersAction[_Parser]) -> None:
    run = verbs.add_parser(
        "run",
        help="work a queue",
        description="Work a queue until SIGTERM or SIGINT; a second one stops at once.",
        epilog="example: toril run --queue images --processor myapp.images:processors "
        "--concurrency 4 --rate-limit 200/60s --timeout 5m --memory 512MiB",
    )
    add = run.add_argument
    add("--queue", required=True, metavar="NAME")
    add("--processor", required=True, metavar="MODULE:ATTRIBUTE", help="a function, or a mapping")
    add("--redis", metavar="URL", help=f"{REDIS_HELP}; default: TORIL_REDIS_URL")
    add("--prefix", default="bull", help="key prefix (default: bull)")
    add("--name", metavar="NAME", help="of this worker, in BullMQ's lists; default: host-pid")
    add("--concurrency", metavar="N", help="children; default: the usable CPU cores")
    add("--lock-duration", default="30s", metavar="T", help="default: 30s; renewed every quarter")
    add("--stalled-interval", default="30s", metavar="T", help="default: 30s")
    add("--max-stalled", default="1", metavar="N", help="recoveries before a job fails; default: 1")
    add("--rate-limit", metavar="N/T", help="such as 200/60s, over all workers of the queue")
    add("--burst", metavar="N", help="tokens a full bucket holds; default: those of --rate-limit")
    add("--level", default="restricted", help="process, restricted or strict; default: restricted")
    add("--timeout", metavar="T", help="of one attempt; default: 5m")
    add("--soft-timeout", metavar="T", help="SoftTimeout is raised in the processor; default: none")
    add("--cpu", metavar="T", help="CPU time of one attempt; default: no limit")
    add("--memory", metavar="SIZE", help="a job may add to its child; default: 512MiB")
    add("--result-size", metavar="SIZE", help="largest result; default: 1MiB")
    add("--output-size", metavar="SIZE", help="stdout and stderr kept of one job; default: 1MiB")
    add("--log-lines", metavar="N", help="log lines kept of one attempt; default: 1000")
    add("--open-files", metavar="N", help="of one child; default: 256")
    add("--jobs-per-child", metavar="N", help="before a child is replaced; default: 500")
    add("--child-age", metavar="T", help="before a child is replaced; default: none")
    add("--child-growth", metavar="SIZE", help="of a child, before it is replaced; default: none")
    add("--import", dest="import_in", default="zygote", metavar="WHERE", help="zygote or child")
    add("--threads", default="1", metavar="N", help="of numeric libraries in a child; default: 1")
    add("--max-started-attempts", metavar="N", help="of a job, then it fails; default: no limit")
    add("--remove-on-complete", metavar="RULE", help=f"{KEEP_HELP}; default: all stay")
    add("--remove-on-fail", metavar="RULE", help="likewise, for failed jobs")
    add("--metrics", default="0", metavar="N", help="minutes of BullMQ metrics kept; default: 0")
    add("--max-crashes", default="3", metavar="N", help="child deaths before a job fails")
    add("--on-crash", default="retry", metavar="WHAT", help="retry or fail; default: retry")
    add("--backoff", metavar="MODULE:ATTRIBUTE", help="a mapping from name to back-off strategies")
    add("--listeners", metavar="MODULE:ATTRIBUTE", help="a mapping from event name to functions")
    add("--listener-timeout", default="10s", metavar="T", help="for one event; default: 10s")
    _add_allow(add)
    add(
        "--drain-timeout", default="30s", metavar="T", help="for running jobs at stop; default: 30s"
    )
    add("--until-empty", action="store_true", help="stop when nothing is left to do here")
    add("--json", action="store_true", help="log lines as JSON")


def _add_allow(add: Callable[..., object]) -> None:
    """What processors may have, and which mechanisms may be missing."""
    many: dict[str, Any] = {"action": "append", "default": []}
    add("--env", **many, metavar="NAME", help="variable the processor may see")
    add("--allow-read", **many, metavar="PATH", help="processors may read it, and all below it")
    add("--allow-write", **many, metavar="PATH", help="processors may read and write below it")
    add("--allow-network", action="store_true", help="processors may open TCP connections")
    add("--allow-exec", action="store_true", help="processors may start other processes")
    add("--allow-queue", **many, metavar="NAME", help="another queue that job.add() may add to")
    add("--tmp-size", metavar="SIZE", help="of a child's work directory; default: 256MiB")
    add("--preload", **many, metavar="MODULE", help="imported once, if children import the rest")
    add("--child-uid", metavar="UID", help="as root: first of the users that children run as")
    add("--waive", **many, metavar="NAME", help="go without this mechanism of the level")


def _add_add(verbs: argparse._SubParsersAction[_Parser]) -> None:
    add_verb = verbs.add_parser(
        "add",
        help="add one job and print its id",
        epilog='example: toril add images thumbnail --data \'{"path": "a.png"}\' --attempts 3',
    )
    add = add_verb.add_argument
    add("queue", metavar="QUEUE")
    add("name", metavar="NAME")
    add("--data", default="{}", metavar="JSON", help="`-` reads standard input; default: {}")
    add("--redis", metavar="URL", help=f"{REDIS_HELP}; default: TORIL_REDIS_URL")
    add("--prefix", default="bull", help="key prefix (default: bull)")
    add("--job-id", metavar="ID")
    add("--delay", metavar="T", help="such as 10s")
    add("--priority", metavar="N", help="1 (first) to 2097151")
    add("--lifo", action="store_true", help="run next")
    add("--attempts", metavar="N", help="default: 1")
    add("--backoff", metavar="T", help="between attempts, doubling; such as 1s")
    add("--json", action="store_true", help='print {"id": …} instead of the bare id')


def _add_demo(verbs: argparse._SubParsersAction[_Parser]) -> None:
    demo = verbs.add_parser(
        "demo",
        help="show and prove what this does, on an embedded server, in under 30 s",
    )
    demo.add_argument("--json", action="store_true", help="the promises as JSON on standard output")


def _add_doctor(verbs: argparse._SubParsersAction[_Parser]) -> None:
    doctor = verbs.add_parser(
        "doctor", help="tell which isolation levels this host can enforce, and why not the others"
    )
    doctor.add_argument("--json", action="store_true", help="as JSON")


def _add_embedded(verbs: argparse._SubParsersAction[_Parser]) -> None:
    embedded = verbs.add_parser(
        "embedded",
        help="tell of the embedded server, or stop it",
        description="The server that `--redis embedded` starts goes on when toril has ended.",
    )
    embedded.add_argument("action", choices=("status", "stop"), metavar="status|stop")


def _add_jobs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    jobs = verbs.add_parser(
        "jobs",
        help="look at one job, cancel it, see where it stands",
        description="show: state, counters and every attempt. cancel: end it, waiting or running. "
        "stack: the Python stack of a running job.",
        epilog="example: toril jobs show 17 --queue images",
    )
    add = jobs.add_argument
    add("action", choices=("show", "cancel", "stack"), metavar="show|cancel|stack")
    add("id", metavar="ID")
    add("--queue", required=True, metavar="NAME")
    add("--redis", metavar="URL", help=f"{REDIS_HELP}; default: TORIL_REDIS_URL")
    add("--prefix", default="bull", help="key prefix (default: bull)")
    add("--json", action="store_true", help="as JSON")
