"""The words and flags of `toril queue`; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.cli.parser import Action, Actions, Parser, add_bulk_flags, add_server_flags

if TYPE_CHECKING:
    from toril.cli.parser import Verbs


def add_queue(verbs: Verbs) -> None:
    """Let the parser know the verb."""
    queue = verbs.add_parser(
        "queue",
        help="list, pause, resume, drain and limit queues",
        description="Look at whole queues and change them.",
        epilog="example: toril queue list",
    )
    Actions(queue).add_all(_ACTIONS)


def _add_server(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_server_flags(parser)


def _add_name(parser: Parser) -> None:
    parser.add_argument("queue", metavar="QUEUE")
    _add_server(parser)


def _add_create(parser: Parser) -> None:
    text = "of a queue that is not there yet, too: it has this from its first job on"
    parser.add_argument("--create", action="store_true", help=text)
    _add_name(parser)


def _add_drain(parser: Parser) -> None:
    parser.add_argument("--delayed", action="store_true", help="delayed jobs too")
    add_bulk_flags(parser)
    _add_name(parser)


def _add_limits(parser: Parser) -> None:
    for flag, metavar, text in (
        ("rate-limit", "N/T", "toril's, such as 200/60s; over all workers of the queue"),
        ("global-rate-limit", "N/T", "BullMQ's, which Node workers obey too"),
        ("global-concurrency", "N", "jobs that run at a time, over all workers of any kind"),
    ):
        either = parser.add_mutually_exclusive_group()
        either.add_argument(f"--{flag}", metavar=metavar, help=text)
        either.add_argument(f"--no-{flag}", action="store_true", help="take it away")
    parser.add_argument("--burst", metavar="N", help="tokens that a full bucket of toril's holds")
    _add_create(parser)


_ACTIONS = (
    Action("list", "list the queues of a prefix", "list --prefix bull", _add_server),
    Action("pause", "claim nothing any more; what runs runs on", "pause images", _add_create),
    Action("resume", "claim again", "resume images", _add_name),
    Action("drain", "remove the jobs that wait", "drain images --dry-run", _add_drain),
    Action("limits", "show or change limits", "limits images --rate-limit 200/60s", _add_limits),
)
