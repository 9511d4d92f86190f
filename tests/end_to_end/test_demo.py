"""The demo is a proof: it exits 0 only if every promise is kept, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.support.tied import tied


def test_every_promise_of_the_demo_is_kept(tmp_path):
    done = subprocess.run(
        tied([sys.executable, "-m", "toril", "demo", "--json"]),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    promises = json.loads(done.stdout)
    assert len(promises) == 6
    assert all(promise["holds"] for promise in promises)
    assert list(tmp_path.iterdir()) == []
