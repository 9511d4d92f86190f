"""The words and flags of `toril jobs`; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.cli.parser import Action, Actions, Parser, add_bulk_flags, add_server_flags

if TYPE_CHECKING:
    from toril.cli.parser import Verbs

STATES = (
    "waiting",
    "active",
    "delayed",
    "prioritized",
    "completed",
    "failed",
    "waiting-children",
    "paused",
)
DEFAULT_LIMIT = "100"

AGE_HELP = "ago, such as 2h: when they ended, or else were added"


def add_jobs(verbs: Verbs) -> None:
    """Let the parser know the verb."""
    jobs = verbs.add_parser(
        "jobs",
        help="list, show, retry, promote, remove and cancel jobs",
        description="Look at jobs and act on them: one by its id, or many by filters.",
        epilog="example: toril jobs list --queue images --state failed --reason timeout",
    )
    Actions(jobs).add_all(_ACTIONS)


def _add_queue(parser: Parser) -> None:
    parser.add_argument(
        "--queue", required=True, metavar="NAME", help="of the jobs; has to be given"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_server_flags(parser)


def _add_filters(parser: Parser) -> None:
    add = parser.add_argument
    known = ", ".join(STATES)
    add("--state", action="append", choices=STATES, metavar="STATE", help=f"one of {known}")
    add("--name", metavar="PATTERN", help="their name, with * and ?")
    add("--verdict", action="append", metavar="WORD", help="how their last attempt ended")
    add("--reason", metavar="TEXT", help="in the reason why they failed; case does not matter")
    add("--older", metavar="T", help=f"longer {AGE_HELP}")
    add("--younger", metavar="T", help=f"less long {AGE_HELP}")


def _add_list(parser: Parser) -> None:
    _add_filters(parser)
    add = parser.add_argument
    add("--limit", metavar="N", default=DEFAULT_LIMIT, help="0: all; default: %(default)s")
    add("--skip", metavar="N", default="0", help="so many first, for the next page")
    add("--ascending", action="store_true", help="in the order in which they run, or ended")
    _add_queue(parser)


def _add_one(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID")
    _add_queue(parser)


def _add_logs(parser: Parser) -> None:
    parser.add_argument("--tail", metavar="N", help="the last so many lines")
    _add_one(parser)


def _add_many(parser: Parser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="all that can be meant")
    add_bulk_flags(parser)
    _add_queue(parser)


def _add_retry(parser: Parser) -> None:
    text = "count their attempts and crashes from 0, as those of a new job"
    parser.add_argument("--reset-attempts", action="store_true", help=text)
    _add_many(parser)


def _add_remove(parser: Parser) -> None:
    text = "leave their children"
    parser.add_argument("--keep-children", action="store_true", help=text)
    _add_many(parser)


_ACTIONS = (
    Action("list", "list jobs, newest first", "list --queue images --state failed", _add_list),
    Action("show", "state, counters and every attempt", "show 17 --queue images", _add_one),
    Action("logs", "the log lines of a job", "logs 17 --queue images --tail 20", _add_logs),
    Action(
        "retry",
        "have failed jobs run again, or completed ones (--state completed)",
        "retry --queue images --reason 'connection refused' --younger 2h --dry-run",
        _add_retry,
    ),
    Action("promote", "run delayed jobs now", "promote 17 18 --queue images", _add_many),
    Action(
        "remove",
        "remove jobs and their children; by filter only with --state",
        "remove --queue images --state failed --older 7d --yes",
        _add_remove,
    ),
    Action(
        "cancel",
        "end jobs for good, waiting or running",
        "cancel --queue images --name 'thumbnail*' --yes",
        _add_many,
    ),
    Action("stack", "the Python stack of a running job", "stack 17 --queue images", _add_one),
)
