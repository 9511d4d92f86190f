"""Attacks through what every process has of its own in /proc, and by what no table knows yet."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from tests.hostile.attacks.steps import all_met, attack, syscall

_HIGHEST_KNOWN = 469
_X32 = 0x40000000


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1)


def _write(path: str, text: str = "0") -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@attack
def go_out_by_its_own_proc(job):
    """Magic links of one's own process lead out of every directory."""
    secret, pid = job.data["private"][0], job.data["supervisor"]
    ways = [
        f"/proc/self/root{secret}",
        f"/proc/thread-self/root{secret}",
        f"/proc/self/task/{os.getpid()}/root{secret}",
        f"/proc/self/cwd/{'../' * 40}{secret}",
        f"/proc/self/../{pid}/environ",
        f"/proc/self/task/../../{pid}/environ",
        f"/proc/self/root/proc/{pid}/maps",
        "/proc/self/root/etc/shadow",
        "/proc/sys/kernel/core_pattern",
        "/proc/kcore",
        "/proc/keys",
    ]
    return all_met({way[-40:]: partial(_read, way) for way in ways})


@attack
def change_itself_by_proc(job):
    """What a process may write about itself: memory past its protection, its score, its maps."""
    names = ("mem", "oom_score_adj", "clear_refs", "coredump_filter", "timerslack_ns", "uid_map")
    names += ("setgroups", "loginuid", "attr/exec", "attr/current", "comm", "make-it-fail", "sched")
    return all_met({name: partial(_write, f"/proc/self/{name}") for name in names})


@attack
def hide_elsewhere(job):
    """Places where everybody may write."""
    places = ("/dev/shm", "/tmp", "/var/tmp", "/run/lock", f"/run/user/{os.getuid()}")
    kinds = {
        "file": lambda path: os.open(path, os.O_CREAT | os.O_WRONLY),
        "folder": os.mkdir,
        "pipe": os.mkfifo,
        "link": lambda path: Path(path).symlink_to("/etc"),
        "nameless": lambda path: os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR),
    }
    name = f"toril-hidden-{os.getpid()}"
    return all_met(
        {
            f"{kind} in {place}": partial(make, f"{place}/{name}")
            for place in places
            for kind, make in kinds.items()
        }
    )


@attack
def call_what_is_not_known_yet(job):
    """System calls of later kernels, and numbers that only look like others."""
    numbers = [*range(_HIGHEST_KNOWN + 1, 520), 1000, 0x7FFFFFFF, _X32 | 59, _X32 | 101, _X32 | 520]
    return all_met({str(number): partial(syscall, number, 0, 0, 0) for number in numbers})


@attack
def make_set_user_id_files(job):
    """Files that run as their owner, for somebody else to run later."""
    os.umask(0)
    steps = {
        f"{kind:o}": partial(os.open, f"file-{kind:o}", os.O_CREAT | os.O_WRONLY, kind | 0o777)
        for kind in (0o4000, 0o2000, 0o6000)
    }
    steps["nameless"] = partial(os.open, ".", os.O_TMPFILE | os.O_RDWR, 0o4777)
    steps["node"] = partial(os.mknod, "node", 0o104777)
    return all_met(steps)
