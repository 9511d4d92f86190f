"""`python hidden.py CALL… -- COMMAND…`: run a command on a host that lacks these system calls."""

from __future__ import annotations

import errno
import os
import sys

from toril.sandbox import landlock, seccomp
from toril.sandbox.policy import Policy
from toril.sandbox.syscalls import X86_64, Architecture

LANDLOCK = {"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446}
SECCOMP = {"seccomp": 317}
_PR_SET_SECCOMP = 22


def hide(names: list[str]) -> None:
    """These calls do not exist from now on, for this process and all it starts."""
    machine = Architecture("here", X86_64.audit, {**LANDLOCK, **SECCOMP}, 0x3FFFFFFF)
    landlock.forgo_privileges()
    seccomp.install(seccomp.compile_policy(Policy(dict.fromkeys(names, errno.ENOSYS), ()), machine))


if __name__ == "__main__":
    split = sys.argv.index("--")
    hide(sys.argv[1:split])
    os.execv(sys.executable, [sys.executable, *sys.argv[split + 1 :]])
