"""Nothing a test starts may outlive the session, not even one that is killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psutil

_SESSION = """
from tests.support.servers import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.socket_path, flush=True)
input()
"""


def test_server_ends_with_the_session_that_was_killed():
    session = subprocess.Popen(
        [sys.executable, "-c", _SESSION], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with session:
        pid, socket_path = session.stdout.readline().split()
        server = psutil.Process(int(pid))

        session.kill()

        psutil.wait_procs([server], timeout=10)
    shutil.rmtree(Path(socket_path).parent)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
