"""A machine with a real systemd as its first process, in namespaces of this one; for root only.

Its root is the host's under a layer in memory, with toril installed in /opt/toril: whatever is done
in it is gone with it. `Machine.place` writes files, `Machine.run` runs commands, both inside.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.required import skip_or_fail
from tests.support.tied import tied

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
PYTHON = "/opt/toril/bin/python"
"""The interpreter that has toril, inside."""

PACKAGES = f"/opt/toril/lib/{Path(sysconfig.get_path('purelib')).parent.name}/site-packages"
"""What is installed for it."""

_SYSTEMD = Path("/lib/systemd/systemd")
_NAMESPACES = ("--pid", "--mount", "--cgroup", "--uts", "--ipc", "--net")
_BOOT_S = 30.0
_HIDDEN = ("/home", "/root", "/tmp", "/run", "/var/tmp")


class Machine:
    """Boots in about a second; a context manager that leaves no process, mount or group behind."""

    def __init__(self) -> None:
        self._top = Path(tempfile.mkdtemp(prefix="toril-m-", dir="/tmp"))
        self._group = _own_group() / f"toril-test-{os.getpid()}"
        self._log = self._top.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # It ignores SIGTERM; all of its own die with it.
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        _wait(lambda: _remove_groups(self._group), "its control groups to be empty")
        self._top.rmdir()
        self._log.unlink(missing_ok=True)

    @property
    def root(self) -> Path:
        """Its root directory as it is seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def place(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, with the directories above it."""
        there = self.root / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text, encoding="utf-8")
        there.chmod(mode)

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "-p", "-m", "-u", "-i", "-n", "-C", *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """What a unit has written, and what systemd has said of it."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def wait_until(self, is_so: Callable[[], bool], what: str, unit: str = "") -> None:
        """Look again until it is so; the journal tells why it is not."""
        try:
            _wait(is_so, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.journal(unit) if unit else ''}") from None

    def _boot(self) -> None:
        try:
            self._group.mkdir()
        except OSError as error:
            skip_or_fail("systemd", f"no control group can be made: {error}")
        packages = sysconfig.get_path("purelib")
        words = [str(self._top), str(ROOT), packages, str(_base_python())]
        enter = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
        boot = ["unshare", *_NAMESPACES, "--fork", "--kill-child"]
        script = ["sh", str(Path(__file__).with_suffix(".sh")), *words]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                tied(["sh", "-c", enter, "sh", str(self._group), *boot, *script]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait(self._is_booted, "systemd to boot")

    def _is_booted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            skip_or_fail("systemd", f"no machine can be made: {self._log.read_text().strip()}")
        pid = self._process.pid
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
                self.pid = int(children[0])
                return self.run("systemctl", "is-system-running", check=False).returncode == 0
        return False


def need_machine() -> None:
    """Skip with the reason where no machine can be made."""
    missing = [name for name in ("unshare", "nsenter", "pivot_root") if not shutil.which(name)]
    if os.geteuid() != 0:
        skip_or_fail("systemd", "a machine with a systemd of its own wants root")
    if missing or not _SYSTEMD.exists():
        skip_or_fail("systemd", f"not installed: {', '.join(missing or [str(_SYSTEMD)])}")
    if str(_base_python()).startswith(_HIDDEN):
        skip_or_fail("systemd", f"{_base_python()} lies where services cannot see it")
    if _cgroup_mount() is None:
        skip_or_fail("systemd", "no version 2 control groups are mounted")


def _base_python() -> Path:
    return Path(sys.executable).resolve()


def _cgroup_mount() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ")[0] == "cgroup2":
            return Path(fields.split(" ")[4])
    return None


def _own_group() -> Path:
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    own = next(line[3:] for line in lines if line.startswith("0::"))
    mount = _cgroup_mount()
    assert mount is not None
    return mount / own.lstrip("/")


def _remove_groups(top: Path) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(directory)  # noqa: PTH106 - os.walk gives text
        except OSError:
            return False  # The kernel has not done with a process that was killed.
    return not top.exists()


def _wait(is_so: Callable[[], bool], what: str) -> None:
    """Poll: systemd has no event that reaches a process outside."""
    deadline_s = time.monotonic() + _BOOT_S
    while not is_so():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)
