"""`toril status` and `toril top` with their flags, as `python -m tests.end_to_end.showing VERB`."""

from __future__ import annotations

import argparse
import sys

from toril.cli import status, top

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("status", "top"))
    parser.add_argument("--queue", action="append", default=[])
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--redis")
    parser.add_argument("--prefix", default="bull")
    options = parser.parse_args()
    sys.exit({"status": status, "top": top}[options.verb].main(options))
