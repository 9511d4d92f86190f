"""No process that a job starts outlives the child that ran it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.process.harness import HOSTILE, ROOT, is_alive, pen
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


@contextmanager
def supervised(job: str):
    """A supervisor of its own process; the supervisor, and the pids below it."""
    argv = [sys.executable, "-m", "tests.process.supervised", job]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as supervisor:
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        try:
            yield supervisor, pids
        finally:
            supervisor.kill()


@pytest.mark.parametrize("job", ["ignore_everything", "daemonise_and_wait"])
def test_nothing_outlives_a_killed_supervisor(job):
    """Zygote, child, and what the child started in a session of its own."""
    with supervised(job) as (supervisor, pids):
        pidfds = [os.pidfd_open(pid) for pid in pids]
        supervisor.kill()
        for pidfd in pidfds:
            _await_death(pidfd)

    assert len(pids) == (3 if job == "daemonise_and_wait" else 2)


def test_nothing_outlives_a_killed_zygote_whose_supervisor_sweeps():
    with supervised("daemonise_and_wait") as (supervisor, pids):
        os.kill(pids[0], signal.SIGKILL)
        said = supervisor.stdout.readline()
        left = [pid for pid in pids if is_alive(pid)]

    assert said == "swept\n"
    assert (len(pids), left) == (3, [])


def test_zygote_that_cannot_hear_of_its_supervisors_death_goes_when_it_wakes():
    """It is stopped when its supervisor dies: the closed socket is there when it runs again."""
    with supervised("daemonise_and_wait") as (supervisor, pids):
        pidfds = [os.pidfd_open(pid) for pid in pids]
        os.kill(pids[0], signal.SIGSTOP)
        supervisor.kill()
        supervisor.wait()
        os.kill(pids[0], signal.SIGCONT)
        for pidfd in pidfds:
            _await_death(pidfd)


def _await_death(pidfd: int) -> None:
    """Fails by the test's own time limit when the process lives on."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(10_000), "still alive"
    os.close(pidfd)


_HELPLESS = """
import errno, os, subprocess, sys, time
from toril.sandbox import tree
child = subprocess.Popen(["sleep", "60"])
kill = os.kill
def refuse(pid, number):
    if sys.argv[1] == "refused":
        raise PermissionError(errno.EPERM, "no")
os.kill = refuse
begun = time.monotonic()
swept = tree.sweep_strangers(set(), 0.2)
took = time.monotonic() - begun
os.kill = kill
again = tree.sweep_strangers(set())
print(swept, took, again)
"""


@pytest.mark.parametrize(("way", "least_s"), [("refused", 0.0), ("deaf", 0.2)])
def test_sweep_does_not_wait_for_what_it_cannot_end(way, least_s):
    run = subprocess.run(
        [sys.executable, "-c", _HELPLESS, way],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
        env=dict(os.environ),
    )

    swept, took, again = run.stdout.split()
    assert (swept, again) == ("0", "1")
    assert least_s <= float(took) < least_s + 0.15
