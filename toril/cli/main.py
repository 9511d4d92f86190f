"""The `toril` command: which verbs there are, and what becomes of their errors.

Nothing heavy is imported before a verb is known; each verb's module does its own work.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from toril.cli.verbs import parser
from toril.errors import InvalidInput, TorilError

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERBS = {
    "run": "toril.cli.run",
    "config": "toril.cli.config",
    "add": "toril.cli.add",
    "demo": "toril.demo.main",
    "doctor": "toril.cli.doctor",
    "jobs": "toril.cli.jobs",
    "status": "toril.cli.status",
    "top": "toril.cli.top",
    "embedded": "toril.cli.embedded",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns a sysexits code.

    A command line that cannot be read is 64 (EX_USAGE), a value that cannot be used is 78
    (EX_CONFIG), what is not there now is 69 (EX_UNAVAILABLE).
    """
    options = parser().parse_args(arguments)
    verb = importlib.import_module(_VERBS[options.verb])
    try:
        return int(verb.main(options))
    except InvalidInput as error:
        return _say(options.verb, str(error), os.EX_CONFIG)
    except TorilError as error:
        return _say(options.verb, str(error), os.EX_UNAVAILABLE)
    except KeyboardInterrupt:
        return 130


def _say(verb: str, message: str, code: int) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"toril {verb}: {line}\n")
    return code
