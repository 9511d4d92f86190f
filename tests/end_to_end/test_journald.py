"""A real journal takes the log of a real worker: its entries are found by job, whatever their size.

In namespaces of its own, as root: journald wants its sockets below /run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toril import ROOT
from toril import Queue

JOURNALD = Path("/lib/systemd/systemd-journald")
PROCESSORS = "tests.end_to_end.logs:processors"

SCRIPT = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /var/log
mkdir -p /run/systemd /run/log/journal
ln -s journal.toril /run/systemd/journal
"$JOURNALD" toril 2>/dev/null &
until [ -S /run/systemd/journal/stdout ]; do kill -0 $!; sleep 0.05; done
systemd-cat sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"' - "$@"
until journalctl --namespace=toril TORIL_EVENT=worker-stopped -q | grep -q .; do sleep 0.05; done
journalctl --namespace=toril -a -o json TORIL_CORRELATION=order-7
"""

APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""What ends with the script, whatever becomes of it."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not JOURNALD.exists() or shutil.which("systemd-cat") is None,
        reason="wants root and systemd's journal",
    ),
]


@pytest.mark.timeout(120)
def test_entries_are_found_by_correlation_id_with_their_fields(redis_url):
    with Queue("logs", redis=redis_url) as queue:
        job_id = queue.add("shout", correlation_id="order-7").id
    command = [sys.executable, "-m", "toril", "run", "--queue", "logs", "--processor", PROCESSORS]
    command += ["--redis", redis_url, "--until-empty", "--concurrency", "1", "--level", "process"]

    done = subprocess.run(
        [*APART, "sh", "-c", SCRIPT, "-", *command],
        cwd=ROOT,
        env={**os.environ, "JOURNALD": str(JOURNALD)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    output, settled = map(json.loads, done.stdout.splitlines())
    assert (settled["TORIL_EVENT"], settled["TORIL_VERDICT"]) == ("job-settled", "returned")
    assert (settled["TORIL_JOB"], settled["PRIORITY"]) == (job_id, "6")
    assert output["TORIL_LOGGER"] == "myapp"
    assert output["TORIL_LINE"] == "x" * 60_000
    assert output["_PID"] == settled["_PID"]
