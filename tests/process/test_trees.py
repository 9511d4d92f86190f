"""No process that a job starts outlives the child that ran it."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.process.harness import HOSTILE, is_alive, pen
from toril.call import Verdict


async def test_daemonised_grandchild_ends_with_its_child():
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("daemonise", child=child)
        daemon = int(outcome.value)
        alive_while_the_child_lives = is_alive(daemon)
        child.retire()
        await p.gone(child)
        left = is_alive(daemon)

    assert alive_while_the_child_lives
    assert not left


async def test_daemon_of_a_killed_child_ends_and_one_of_a_sibling_does_not():
    async with pen(HOSTILE) as p:
        killed = await p.begin_and_hear("daemonise_and_wait")
        sibling = await p.begin_and_hear("daemonise_and_wait")
        daemons = [int(p.heard[child].lines("log")[0]) for child in (killed, sibling)]
        killed.kill(Verdict.LOCK_LOST)
        await p.gone(killed)
        after_one = [is_alive(pid) for pid in daemons]
        sibling.kill(Verdict.LOCK_LOST)
        await p.gone(sibling)
        after_both = [is_alive(pid) for pid in daemons]

    assert after_one == [False, True]
    assert after_both == [False, False]


_SUPERVISOR = """
import os, signal, subprocess, sys
from toril.sandbox import proc, tree
tree.become_supervisor()
kept = subprocess.Popen(["sleep", "60"])
orphan_maker = (
    "import subprocess; "
    "print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, flush=True)"
)
made = subprocess.run([sys.executable, "-c", orphan_maker], stdout=subprocess.PIPE, text=True)
orphan = int(made.stdout)
before = sorted(proc.child_pids(os.getpid())) == sorted([kept.pid, orphan])
swept = tree.sweep_strangers({kept.pid})
after = proc.child_pids(os.getpid()) == [kept.pid]
owner = os.stat("/proc/self/environ").st_uid
kept.kill(); kept.wait()
print(before, swept, after, owner)
"""


def test_supervisor_adopts_and_sweeps_strangers_only():
    run = subprocess.run(
        [sys.executable, "-c", _SUPERVISOR],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
        env=dict(os.environ),
    )

    assert run.stdout.split() == ["True", "1", "True", "0"]
