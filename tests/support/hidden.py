"""Runs a command on a machine that lacks something: `python -m tests.support.hidden NAMES -- …`.

NAMES is `call=ERRNO,…`: these system calls fail so, for the command and all that it starts. It is a
filter of the kernel's, installed before the command begins, as a container's would be.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from toril.sandbox import bpf, landlock, seccomp

if TYPE_CHECKING:
    from collections.abc import Sequence

LANDLOCK = "landlock_create_ruleset=ENOSYS"
NAMESPACES = "unshare=EPERM"
MOUNTS = "mount=EPERM"
USERS = "setresuid=EPERM"

_NUMBERS = {
    "x86_64": {
        "landlock_create_ruleset": 444,
        "unshare": 272,
        "mount": 165,
        "setresuid": 117,
    },
    "aarch64": {
        "landlock_create_ruleset": 444,
        "unshare": 97,
        "mount": 40,
        "setresuid": 147,
    },
}


def behind(names: str, command: Sequence[str]) -> list[str]:
    """The command on such a machine."""
    return [sys.executable, "-m", "tests.support.hidden", names, "--", *command]


def main() -> None:
    numbers = _NUMBERS[os.uname().machine]
    program = [bpf.load(0)]
    for pair in sys.argv[1].split(","):
        call, error = pair.split("=")
        program.append(bpf.jump_equal(numbers[call], 0, 1))
        program.append(bpf.end(seccomp.ERRNO | getattr(errno, error)))
    landlock.forgo_privileges()
    seccomp.install(bpf.assemble([*program, bpf.end(seccomp.ALLOW)]))
    command = sys.argv[3:]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
