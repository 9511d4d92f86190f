"""Real BullMQ in a Node process, spoken to in JSON lines; `node/driver.js` is the other end."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

from tests.support.required import skip_or_fail
from tests.support.tied import tied

_HERE = Path(__file__).parent
_ANSWER_TIMEOUT_S = 30.0


class NodeError(Exception):
    """What a BullMQ call threw; `name` is the JavaScript error's name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class NodeDriver:
    """One Node process with BullMQ loaded; a context manager.

    Args:
        socket_path: the Redis server's unix socket.
        major: BullMQ's major version, 6 or 5.
    """

    def __init__(self, socket_path: str, major: int = 6) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_ANSWER_TIMEOUT_S)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._ids = count(1)
        with theirs:
            self._process = subprocess.Popen(
                tied(["node", str(_HERE / "node" / "driver.js"), socket_path, str(major)]),
                stdin=theirs,
                stdout=theirs,
            )
        self._answer()

    def call(self, method: str, **args: Any) -> Any:
        """The value that `method` answers.

        Raises:
            NodeError: the call threw.
            TimeoutError: no answer in time; the driver is of no use afterwards.
        """
        request = {"id": next(self._ids), "method": method, "args": args}
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        answer = self._answer()
        if "error" in answer:
            raise NodeError(answer["error"]["name"], answer["error"]["message"])
        return answer["value"]

    def kill(self) -> None:
        """End the process as kill -9 does: its workers vanish with their jobs."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and wait for it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(_ANSWER_TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._lines.close()
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise RuntimeError(f"the Node driver ended with status {self._process.wait()}")
        return json.loads(line)


def require_node() -> None:
    """Skip (or fail, by `TORIL_REQUIRE=interop`) without Node or its packages."""
    if shutil.which("node") is None:
        skip_or_fail("interop", "Node is not installed")
    if not (_HERE / "node_modules" / "bullmq").is_dir():
        skip_or_fail("interop", "bullmq is not installed: cd tests/interop && npm ci")
