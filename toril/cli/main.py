"""The `toril` command: which verbs there are, and what becomes of their errors.

Nothing heavy is imported before a verb is known; each verb's module does its own work.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from toril.cli.parser import UsageError
from toril.cli.verbs import parser
from toril.errors import InvalidInput, TorilError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_VERBS = {
    "run": "toril.cli.run",
    "config": "toril.cli.config",
    "add": "toril.cli.add",
    "demo": "toril.demo.main",
    "doctor": "toril.cli.doctor",
    "jobs": "toril.cli.jobs.main",
    "queue": "toril.cli.queue.main",
    "status": "toril.cli.status",
    "top": "toril.cli.top",
    "check": "toril.cli.check.main",
    "completion": "toril.cli.completion",
    "embedded": "toril.cli.embedded",
    "systemd": "toril.cli.systemd",
}


_PIPE_GONE = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns a sysexits code.

    A command line that cannot be read is 64 (EX_USAGE), a value that cannot be used is 78
    (EX_CONFIG), what is not there now is 69 (EX_UNAVAILABLE).
    """
    options = parser().parse_args(arguments)
    verb = importlib.import_module(_VERBS[options.verb])
    try:
        code = int(verb.main(options))
        sys.stdout.flush()
    except UsageError as error:
        return _say(_words(options), str(error), os.EX_USAGE)
    except BrokenPipeError:
        # Whoever read the output has enough; the interpreter's own flush must not find the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_GONE
    except InvalidInput as error:
        return _say(_words(options), str(error), os.EX_CONFIG)
    except TorilError as error:
        return _say(_words(options), str(error), os.EX_UNAVAILABLE)
    except KeyboardInterrupt:
        return 130
    return code


def _words(options: argparse.Namespace) -> str:
    return " ".join(filter(None, (options.verb, getattr(options, "action", ""))))


def _say(verb: str, message: str, code: int) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"toril {verb}: {line}\n")
    return code
