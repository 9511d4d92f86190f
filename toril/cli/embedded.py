"""`toril embedded`: is this user's embedded server running, where is its data, and stop it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from toril.runtime.connection import server_name
from toril.runtime.embedded import running_url, shared_directory, stop_shared

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Tell of the server, or stop it; its data stays either way."""
    data = f"its data is in {shared_directory()}"
    if options.action == "stop":
        was_running = stop_shared()
        sys.stdout.write(f"{'stopped' if was_running else 'not running'}; {data}\n")
        return os.EX_OK
    url = running_url()
    sys.stdout.write(f"{f'runs at {server_name(url)}' if url else 'not running'}; {data}\n")
    return os.EX_OK if url else os.EX_UNAVAILABLE
