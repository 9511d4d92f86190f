"""The verbs of `toril` and their flags; a verb's module is loaded when it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril import __version__
from toril.cli.flags import QUEUE_FLAGS, TOP_FLAGS
from toril.cli.jobs.verb import add_jobs
from toril.cli.parser import Parser, add_server_flags
from toril.cli.queue.verb import add_queue

if TYPE_CHECKING:
    from toril.cli.parser import Verbs


def parser() -> Parser:
    """The whole command line."""
    whole = Parser(
        prog="toril",
        description="Runs BullMQ-compatible jobs in forked, supervised Python processes.",
    )
    whole.add_argument("--version", action="version", version=f"toril {__version__}")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in _VERBS:
        add(verbs)
    return whole


def _add_run(verbs: Verbs) -> None:
    run = verbs.add_parser(
        "run",
        help="work queues",
        description="Work queues until SIGTERM or SIGINT; a second one stops at once. What to work "
        "is said by flags, or by toril.toml; flags win over the environment, that over the file.",
        epilog="example: toril run --queue images --processor myapp.images:processors "
        "--concurrency 4 --rate-limit 200/60s --timeout 5m --memory 512MiB",
    )
    _add_configuration(run)
    run.add_argument("--until-empty", action="store_true", help="stop when nothing is left to do")
    run.add_argument("--json", action="store_true", help="log lines as JSON")


def _add_configuration(verb: Parser) -> None:
    """All that says what a supervisor is told."""
    verb.add_argument("--config", metavar="FILE", help="default: toril.toml or pyproject.toml here")
    verb.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="of the file's, or one of its own",
    )
    for flag in (*TOP_FLAGS, *QUEUE_FLAGS):
        flag.add_to(verb)


def _add_config(verbs: Verbs) -> None:
    config = verbs.add_parser(
        "config",
        help="show the settings in force, or their schema",
        description="show: every setting and its value. schema: a JSON Schema of toril.toml, for "
        "editors.",
        epilog="example: toril config show --origin",
    )
    config.add_argument("action", choices=("show", "schema"), metavar="show|schema")
    _add_configuration(config)
    config.add_argument("--origin", action="store_true", help="where each value comes from")
    config.add_argument("--json", action="store_true", help="as JSON")


def _add_add(verbs: Verbs) -> None:
    add_verb = verbs.add_parser(
        "add",
        help="add one job and print its id",
        epilog='example: toril add images thumbnail --data \'{"path": "a.png"}\' --attempts 3',
    )
    add = add_verb.add_argument
    add("queue", metavar="QUEUE")
    add("name", metavar="NAME")
    add("--data", default="{}", metavar="JSON", help="`-` reads standard input; default: {}")
    add("--job-id", metavar="ID", help="of your own; one that is there already is not added again")
    add("--delay", metavar="T", help="such as 10s")
    add("--priority", metavar="N", help="1 (first) to 2097151")
    add("--lifo", action="store_true", help="run next")
    add("--attempts", metavar="N", help="default: 1")
    add("--backoff", metavar="T", help="between attempts, doubling; such as 1s")
    add("--json", action="store_true", help='print {"id": …} instead of the bare id')
    add_server_flags(add_verb)


def _add_demo(verbs: Verbs) -> None:
    demo = verbs.add_parser(
        "demo",
        help="show and prove what this does, on an embedded server, in under 30 s",
        epilog="example: toril demo",
    )
    demo.add_argument("--json", action="store_true", help="the promises as JSON on standard output")


def _add_doctor(verbs: Verbs) -> None:
    doctor = verbs.add_parser(
        "doctor",
        help="tell which isolation levels this host can enforce, and why not the others",
        epilog="example: toril doctor",
    )
    doctor.add_argument("--json", action="store_true", help="as JSON")


def _add_embedded(verbs: Verbs) -> None:
    embedded = verbs.add_parser(
        "embedded",
        help="tell of the embedded server, or stop it",
        description="The server that `--redis embedded` starts goes on when toril has ended.",
        epilog="example: toril embedded status",
    )
    embedded.add_argument("action", choices=("status", "stop"), metavar="status|stop")


def _add_systemd(verbs: Verbs) -> None:
    systemd = verbs.add_parser(
        "systemd",
        help="install the units of a service, or judge them",
        epilog="example: toril systemd install images",
    )
    actions = systemd.add_subparsers(dest="action", required=True, metavar="install|check")
    install = actions.add_parser(
        "install",
        help="write unit files that start this very toril, and say what to run next",
        description="Write unit files that start this very toril, one instance for each "
        "configuration, and say what to run next. What is there already and the same stays.",
        epilog="example: toril systemd install images --dry-run",
    )
    _add_units(install)
    install.add_argument("--dry-run", action="store_true", help="only say what would be written")
    check = actions.add_parser(
        "check",
        help="have systemd verify the units and tell how exposed the service is",
        description="Have systemd verify the units that are installed, or would be, and tell how "
        "exposed the service is.",
        epilog="example: toril systemd check images --json",
    )
    _add_units(check)


def _add_units(verb: Parser) -> None:
    add = verb.add_argument
    add("names", nargs="*", metavar="NAME", help="an instance; its configuration is NAME.toml")
    add("--user", action="store_true", help="units of your own manager, not of the system")
    add("--hardened", action="store_true", help="narrower, for queues without level strict")
    add("--root", default="/", metavar="DIR", help="stands for /, in an image that is made")
    add("--json", action="store_true", help="as JSON")


def _add_status(verbs: Verbs) -> None:
    status = verbs.add_parser(
        "status",
        help="show the supervisors there are, and what is wrong with them",
        description="Exit codes: 0 all are well, 1 somebody is not, 69 there is nobody.",
        epilog="example: toril status --here --json",
    )
    _add_fleet(status)
    status.add_argument("--json", action="store_true", help="as JSON")


def _add_top(verbs: Verbs) -> None:
    top = verbs.add_parser(
        "top",
        help="watch supervisors, queues and running jobs; q leaves",
        description="Without a terminal it prints one snapshot.",
        epilog="example: toril top --queue images",
    )
    _add_fleet(top)


def _add_fleet(verb: Parser) -> None:
    """Which supervisors."""
    add = verb.add_argument
    add("--queue", action="append", default=[], metavar="NAME", help="default: all that are worked")
    add("--here", action="store_true", help="only this host's supervisors")
    add_server_flags(verb)


def _add_check(verbs: Verbs) -> None:
    check = verbs.add_parser(
        "check",
        help="judge configuration, processors and server before anything is started",
        description="Everything that is wrong with the configuration, with the imports of its "
        "processors and with the server, each with its remedy. No job is taken.",
        epilog="example: toril check --config toril.toml",
    )
    _add_configuration(check)
    check.add_argument("--json", action="store_true", help="as JSON, a line for each finding")


def _add_completion(verbs: Verbs) -> None:
    completion = verbs.add_parser(
        "completion",
        help="print what a shell needs to complete toril's words",
        epilog='example: source <(toril completion bash); eval "$(toril completion zsh)"; '
        "toril completion fish | source",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish")


_VERBS = (
    _add_run,
    _add_check,
    _add_config,
    _add_add,
    add_jobs,
    add_queue,
    _add_status,
    _add_top,
    _add_doctor,
    _add_systemd,
    _add_demo,
    _add_embedded,
    _add_completion,
)
