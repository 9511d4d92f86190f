"""A proxy in front of a server that lets a request be executed and cuts its reply off."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class CuttingProxy:
    """Listens on a unix socket of its own; `cut(n)` cuts the next n replies off.

    Args:
        target: socket path of the server.
        directory: for our socket.
    """

    def __init__(self, target: str, directory: Path) -> None:
        self._target = target
        self._path = str(directory / "p")
        self._listener = socket.socket(socket.AF_UNIX)
        self._to_cut = 0
        self.were_cut = 0
        self.url = f"unix://{self._path}?db=0"

    def cut(self, count: int = 1) -> None:
        """Cut the next replies off."""
        self._to_cut = count

    def __enter__(self) -> Self:
        self._listener.bind(self._path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        # Closing alone would not wake the accepting thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._replies, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), server:
            while request := client.recv(65536):
                server.sendall(request)

    def _replies(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client:
            while reply := server.recv(65536):
                if self._to_cut > 0:
                    self._to_cut -= 1
                    self.were_cut += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(reply)
