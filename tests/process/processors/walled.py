"""Processors that try what a wall forbids; a refusal is raised as it comes from the kernel."""

# ruff: noqa: ARG001 - every processor takes its job

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path


def read(job):
    return Path(job.data).read_text()


def listed(job):
    return sorted(os.listdir(job.data))  # noqa: PTH208 - that is what is tried


def write(job):
    Path(job.data).write_text("x")
    return True


def append(job):
    with Path(job.data).open("a") as file:
        file.write("more")
    return True


def move(job):
    Path("here").write_text("x")
    os.replace("here", job.data)  # noqa: PTH105 - that is what is tried


def copy(job):
    Path("one").write_text("x")
    shutil.copy("one", "two")


def connect(job):
    with socket.create_connection(("127.0.0.1", job.data), timeout=5) as peer:
        return peer.recv(16).decode()


def resolve(job):
    return socket.getaddrinfo("no-such-host.invalid", 80)


def fetch(job):
    with urllib.request.urlopen("http://127.0.0.1:9/", timeout=5) as reply:
        return reply.status


def local_socket(job):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(job.data)


def datagrams(job):
    """A pair of datagram sockets could be sent from to any name."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", job.data)
    other.close()


def loop(job):
    """asyncio's own pair of sockets is let through."""
    return asyncio.run(asyncio.sleep(0, "done"))


def run(job):
    return subprocess.run(job.data, capture_output=True, text=True, check=True).stdout


def run_briefly(job):
    """Kills what it started itself."""
    try:
        subprocess.run(["sleep", "60"], check=True, timeout=0.1)
    except subprocess.TimeoutExpired:
        return "killed"


def fork(job):
    os.fork()


def pool(job):
    with multiprocessing.Pool(1) as workers:
        return workers.map(abs, [-1])


def worker(job):
    process = multiprocessing.get_context("fork").Process(target=print)
    process.start()
    process.join()


def signal_parent(job):
    os.kill(os.getppid(), 0)


def chmod(job):
    os.chmod(job.data, 0o777)  # noqa: PTH101 - that is what is tried


def forget_death_signal(job):
    """To outlive its zygote a child would only have to ask for no signal."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(1, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def wrapped(job):
    """As libraries do: their own exception around the kernel's."""
    try:
        Path(job.data).read_text()
    except OSError as error:
        raise RuntimeError("cannot load") from error


def silenced(job):
    """A refusal that was dealt with has nothing to do with the error."""
    try:
        Path(job.data).read_text()
    except OSError:
        raise ValueError("bad input") from None


def surroundings(job):
    return {
        "cwd": os.getcwd(),  # noqa: PTH109
        "tmp": tempfile.gettempdir(),
        "listed": sorted(os.listdir()),  # noqa: PTH208
        "mode": os.stat(".").st_mode & 0o777,  # noqa: PTH116
        "made": tempfile.mkstemp()[1],
    }


def litter(job):
    """Leave a deep and a wide tree, and what is hard to remove."""
    for number in range(300):
        Path(f"file-{number}").touch()
    for number in range(20):
        folder = Path(f"folder-{number}") / "a" / "b"
        folder.mkdir(parents=True)
        (folder / "file").touch()
    for _ in range(1500):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    Path("link").symlink_to(job.data)
    return os.getcwd() == "/"  # noqa: PTH109


def database(job):
    with sqlite3.connect("data.db") as connection:
        connection.execute("create table t (a)")
        connection.executemany("insert into t values (?)", [(n,) for n in range(1000)])
        connection.commit()
        return connection.execute("select sum(a) from t").fetchone()[0]


def threads(job):
    done = []
    for number in range(8):
        thread = threading.Thread(target=done.append, args=(number,))
        thread.start()
        thread.join()
    return len(done)


def about_itself(job):
    status = Path("/proc/self/status").read_text().splitlines()
    wanted = ("CapEff", "NoNewPrivs", "Seccomp:")
    return [line.split()[1] for line in status if line.startswith(wanted)]


def nap(job):
    job.log(os.getcwd())  # noqa: PTH109
    time.sleep(60)


def late_import(job):
    """A module that nobody has imported yet."""
    import wave  # noqa: PLC0415

    return "wave" in sys.modules and wave.__name__


processors = {
    function.__name__: function
    for function in list(globals().values())
    if callable(function) and getattr(function, "__module__", "") == __name__
}
