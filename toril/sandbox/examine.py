"""What this host can do: `python -I -m toril.sandbox.examine` prints it, one JSON object a line.

A program of its own, because looking means forking, and only a process with one thread may fork.
"""

from __future__ import annotations

import json
import sys

from toril.sandbox.mechanisms import MECHANISMS


def main() -> None:
    """Look at every mechanism."""
    for one in MECHANISMS:
        found = one.look()
        line = {
            "name": one.name,
            "what": one.what,
            "levels": sorted(level.value for level in one.levels),
            "is_there": found.is_there,
            "detail": found.detail,
            "remedy": found.remedy,
        }
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
