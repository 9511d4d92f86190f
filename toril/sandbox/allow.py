"""What the processors of one queue may have beyond the little that every child has: a value.

It is declared by whoever runs the worker, never by a job. From level `restricted` up the kernel
holds children to it; at `process` only `env` and `queues` mean anything.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from toril.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORKS = ("tcp",)
"""What `network` may name. `tcp` is outgoing and incoming TCP, and the UDP that DNS needs."""

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Allow:
    """What is allowed; by default nothing.

    Attributes:
        read: absolute paths that may be read, directories with all that is below them.
        write: absolute paths that may be read and written, created, renamed and removed.
        network: kinds of network, out of `NETWORKS`; empty: no sockets at all.
        exec: start processes: fork, run what may be read of the system's programs and of `read`.
        env: names of environment variables of the supervisor that are handed on.
        queues: queues that `job.add` may add to, beside the job's own.
        tmp_size_bytes: what the work directory of one child may hold.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    exec: bool = False
    env: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    tmp_size_bytes: int = 256 * _MIB

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InvalidSettings: a path that is not absolute, an unknown kind of network, a size of 0.
        """
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for name in ("read", "write"):
            for path in getattr(self, name):
                if not path.startswith("/") or "\0" in path:
                    yield f"{name} names {path!r}; expected an absolute path"
        for kind in self.network:
            if kind not in NETWORKS:
                yield f"network names {kind!r}; expected one of {', '.join(NETWORKS)}"
        if self.tmp_size_bytes <= 0:
            yield f"tmp_size_bytes is {self.tmp_size_bytes!r}; expected more than 0"

    def as_message(self) -> dict[str, Any]:
        """JSON values, for the zygote."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Allow:
        """What `as_message` made."""
        lists = {name: tuple(value) for name, value in message.items() if isinstance(value, list)}
        return cls(**(message | lists))
