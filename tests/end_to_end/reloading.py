"""A supervisor whose settings are a JSON file that SIGHUP reads anew: `… FILE [ignored words]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from toril.log import Log
from toril.log_settings import LogSettings
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits
from toril.supervisor.settings import QueueSettings, Settings
from toril.supervisor.supervisor import supervise


def read() -> Settings:
    """The settings that the file names."""
    found = json.loads(Path(sys.argv[1]).read_text())
    queues = tuple(
        QueueSettings(**{**queue, "level": Level.PROCESS, "limits": Limits(**queue["limits"])})
        for queue in found.pop("queues")
    )
    return Settings(queues=queues, **found)


if __name__ == "__main__":
    with Log(told=LogSettings(format="json")) as log:
        raise SystemExit(supervise(read(), log, read)[0])
