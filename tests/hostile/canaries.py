"""What must stay untouched: listeners that count, private and other people's files, processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

OWNED = "ARENA_OWNS_ITS_USER"
"""Set where nobody else runs as the arena's user: a person's other programs are no attack."""


class Canaries:
    """Open as a context; `targets` names everything for an attacker, `problems` what was touched.

    Attributes:
        farm: the working directory of the supervisor, with private files in it.
    """

    def __init__(self, folder: Path, marker: str) -> None:
        self._folder = folder
        self._tokens = {name: marker + secrets.token_hex(12) for name in ("key", "settings", "url")}
        self._touched: list[str] = []
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._abstract = f"arena-{secrets.token_hex(6)}"
        self.farm = folder / "farm"
        self._outside = folder / "outside"

    async def __aenter__(self) -> Self:
        """Lay everything out."""
        self._folder.chmod(
            0o755
        )  # A child may be another user, and its sources have to be readable.
        for path in (self.farm, self._outside, self._outside / "empty", self._folder / "home"):
            path.mkdir(mode=0o755)
        (self._outside / "file").write_text("as it was")
        self._private = [
            self._write(self._folder / "home" / "id_ed25519", self._tokens["key"]),
            self._write(self.farm / ".env", self._tokens["settings"]),
            self._write(self.farm / "toril.toml", self._tokens["settings"]),
            self._write(self.farm / "credentials.json", self._tokens["settings"]),
        ]
        os.environ["TORIL_REDIS_URL"] = f"redis://:{self._tokens['url']}@127.0.0.1"
        os.environ["DATABASE_URL"] = self._tokens["url"]
        module = self.farm / "farmyard.py"
        module.write_text("ANIMALS = 3\n")
        sys.path.insert(0, str(self.farm))
        self._readable = str(module)
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the listeners."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one)
            one.close()
        for server in self._servers:
            server.close()
            await server.wait_closed()

    def _write(self, path: Path, token: str) -> str:
        path.write_text(token)
        path.chmod(0o600)
        return str(path)

    async def _listen(self) -> None:
        tcp = await asyncio.start_server(self._accepted("tcp"), "127.0.0.1", 0)
        self._tcp = tcp.sockets[0].getsockname()[1]
        path = str(self._folder / "redis.sock")
        unix = await asyncio.start_unix_server(self._accepted("unix"), path)
        named = await asyncio.start_unix_server(self._accepted("abstract"), "\0" + self._abstract)
        self._servers = [tcp, unix, named]
        udp = self._datagrams("udp", socket.AF_INET, ("127.0.0.1", 0))
        self._udp = udp.getsockname()[1]
        self._datagrams("datagram", socket.AF_UNIX, str(self._folder / "log.sock"))
        self._datagrams("abstract datagram", socket.AF_UNIX, f"\0{self._abstract}-dgram")

    def _accepted(self, name: str) -> Any:
        async def accepted(_reader: object, writer: asyncio.StreamWriter) -> None:
            self._touched.append(f"{name} was connected to")
            writer.close()

        return accepted

    def _datagrams(self, name: str, family: int, address: Any) -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.bind(address)

        def received() -> None:
            self._touched.append(f"{name} received {made.recv(100)!r}")

        asyncio.get_running_loop().add_reader(made, received)
        self._sockets.append(made)
        return made

    def targets(self) -> dict[str, Any]:
        """Names of everything, for an attacker."""
        return {
            "tcp": self._tcp,
            "udp": self._udp,
            "unix": str(self._folder / "redis.sock"),
            "abstract": self._abstract,
            "datagram": str(self._folder / "log.sock"),
            "abstract_datagram": f"{self._abstract}-dgram",
            "private": self._private,
            "private_folders": [str(self._folder / "home")],
            "readable": self._readable,
            "outside": str(self._outside),
        }

    def problems(self) -> list[str]:
        """What was touched since the last look."""
        touched, self._touched = self._touched, []
        return touched

    def found_in(self, text: str) -> str:
        """The name of a secret that a text has; empty: none."""
        return next((name for name, token in self._tokens.items() if token in text), "")

    def outside(self) -> dict[str, Any]:
        """Every file that is nobody's business, with its rights, times and contents."""
        found = {}
        for root, folders, files in os.walk(self._outside):
            for name in [*folders, *files]:
                path = os.path.join(root, name)
                facts = os.lstat(path)
                found[path] = (facts.st_mode, facts.st_uid, facts.st_size, facts.st_mtime_ns)
        return found


def processes_of(supervisor: int, known: AbstractSet[int | None]) -> dict[int, str]:
    """Processes below the supervisor, and all of its user if that is its own: pid → name."""
    mine, everybody = os.getuid(), _everybody()
    below = {supervisor}
    while more := {pid for pid, facts in everybody.items() if facts[0] in below} - below:
        below |= more
    is_owned = OWNED in os.environ
    return {
        pid: facts[2]
        for pid, facts in everybody.items()
        if (pid in below or (is_owned and facts[1] == mine))
        and pid != supervisor
        and pid not in known
    }


def is_anybody(uid: int) -> bool:
    """Does anything run as this user?"""
    return any(facts[1] == uid for facts in _everybody().values())


def _everybody() -> dict[int, tuple[int, int, str]]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                found[int(entry)] = _facts(int(entry))
    return found


def _facts(pid: int) -> tuple[int, int, str]:
    """Parent, user, name."""
    with open(f"/proc/{pid}/stat") as stat:
        name, _, rest = stat.read().rpartition(")")
    return int(rest.split()[1]), os.stat(f"/proc/{pid}").st_uid, name.partition("(")[2]
