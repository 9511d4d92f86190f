"""The rows of behaviour that every level has an answer to, and their table as a page shows it.

`python -m tests.hostile.rows` prints what `docs/isolation.md` has between its marks.
"""

# ruff: noqa: T201 - what it prints goes into the page

from __future__ import annotations

from tests.hostile.attacks import ATTACKS
from tests.hostile.table import CASES, Case, Ended, Expected, Gave, Refused
from tests.process.processors import hostile
from toril.sandbox.levels import Level

BEGIN, END = "<!-- the rows -->", "<!-- end of the rows -->"

TITLES = (
    "kill supervisor, zygote, sibling, everybody",
    "the same through a pidfd",
    "the same through ownership of a descriptor (SIGIO)",
    "trace another process",
    "read or write another process's memory, take its descriptors",
    "read the supervisor's environment, memory, descriptors in `/proc`",
    "find a secret in the environment or memory it was given",
    "limit, renice, pin or reschedule another process",
    "mark another process for the kernel's out-of-memory killer",
    "reach Redis by TCP",
    "UDP, netlink, vsock and other families; name look-up",
    "reach Redis by a socket path or an abstract name",
    "read `/etc/shadow` and the like",
    "read a private key, `.env`, settings of the same user",
    "write outside, into its own code, into libraries",
    "escape by symbolic or hard links, `..`, handles",
    "change modes, owners, times, attributes outside",
    "run another program, set-uid ones too",
    "new namespaces, mounts, risky parts of the kernel, x32 calls",
    "fork bomb",
    "thread bomb",
    "heap bomb",
    "bomb of shared anonymous memory",
    "bomb of files in memory (memfd)",
    "open every descriptor it can",
    "fill the disk",
    "endless loop in Python, in C, in `re`",
    "ignore every signal, catch everything, stop itself",
    "`os._exit(0)`",
    "segmentation fault, abort, SIGKILL to itself",
    "recursion without a limit",
    "`SystemExit`, `KeyboardInterrupt`, a `BaseException` of its own",
    "an exception whose text raises or exits",
    "an exception with 50 MB of text, or half a letter",
    "a result that is a set, NaN, circular, 200,000 deep",
    "a result of many megabytes",
    "a result that exits while it is encoded",
    "garbage, false lengths, bombs of JSON on the socket",
    "half a frame, then silence",
    "progress without a pause",
    "a result for another call",
    "two results; an answer ready for the next job",
    "close the socket, or every descriptor",
    "send descriptors along",
    "flood standard output",
    "a daemon that leaves the session",
    "a thread or exit handler left behind",
    "change directory, mask, environment, handlers, builtins, encoders",
    "zombies",
    "set the clock",
    "leak a little with every job",
)


def render() -> str:
    """The table, one line for each row, and below it what we attack beside the rows."""
    lines = ["| | behaviour | process | restricted | strict | cases |", "|---|---|---|---|---|---|"]
    for number, title in enumerate(TITLES, 1):
        cases = [case for case in CASES if case.row == number]
        answers = " | ".join(_answer(cases, level) for level in Level)
        lines.append(f"| {number} | {title} | {answers} | {_names(cases)} |")
    lines += ["", "Attacks of our own beside these rows:", ""]
    lines += ["| attack | process | restricted | strict |", "|---|---|---|---|"]
    ours: dict[str, list[Case]] = {}
    for case in CASES:
        if case.row == 0:
            ours.setdefault(case.name, []).append(case)
    for name, cases in ours.items():
        answers = " | ".join(_answer(cases, level) for level in Level)
        lines.append(f"| `{name}`: {_about(name)} | {answers} |")
    return "\n".join(lines)


def _answer(cases: list[Case], level: Level) -> str:
    found = dict.fromkeys(_words(case.expected[level]) for case in cases)
    return ", ".join(found)


def _words(expected: Expected) -> str:
    match expected:
        case Refused():
            return "refused"
        case Gave():
            return "harmless"
        case Ended(verdicts) if len(verdicts) > 4:
            return "ends"
        case Ended(verdicts):
            return " or ".join(sorted(one.value for one in verdicts))
        case _:
            return "**open**"


def _names(cases: list[Case]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(case.name for case in cases))


def _about(name: str) -> str:
    doc = (ATTACKS.get(name) or hostile.processors[name]).__doc__ or name.replace("_", " ")
    return " ".join(doc.split("\n\n")[0].split()).rstrip(".").replace("|", "/")


if __name__ == "__main__":
    print(render())
