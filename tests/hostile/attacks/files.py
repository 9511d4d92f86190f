"""Attacks on files: to read what is private, to write what is not its own, to escape by links."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from functools import partial

from tests.hostile.attacks import steps
from tests.hostile.attacks.steps import all_met, attack, syscall
from tests.process.processors.hostile import wait_to_be_killed


def read(path):
    with open(path, "rb") as file:
        return file.read(64)


def write(path):
    with open(path, "ab") as file:
        file.write(b"hostile")


@attack
def read_system_secrets(job):
    """Files of the system that hold or lead to passwords (row 13)."""
    paths = ["/etc/shadow", "/etc/gshadow", "/root/.bashrc", "/dev/mem", "/dev/kmem", "/dev/kmsg"]
    paths += ["/proc/kcore", "/proc/kmsg", "/proc/1/environ", "/sys/kernel/debug", "/dev/vda"]
    return all_met({path: partial(read, path) for path in paths if os.path.lexists(path)} or NONE)


NONE = {"nothing there": partial(os.stat, "/nothing/there")}


@attack
def read_private_files(job):
    """What the supervisor's user keeps to himself: a key, settings, an `.env` file (row 14)."""
    steps = {}
    for path in job.data["private"]:
        steps[f"open {path}"] = partial(read, path)
        steps[f"copy {path}"] = partial(shutil.copyfile, path, "copied")
        steps[f"through proc {path}"] = partial(read, f"/proc/self/root{path}")
        steps[f"openat2 {path}"] = partial(openat2, path)
    for path in job.data["private_folders"]:
        steps[f"list {path}"] = partial(os.listdir, path)
    return all_met(steps)


def openat2(path):
    return os.read(syscall(437, -100, path.encode(), bytes(24), 24), 64)


@attack
def write_outside(job):
    """Change, add and remove files that are not its own, the processor's code too (row 15)."""
    outside, code = job.data["outside"], os.path.dirname(steps.__file__)
    made = {
        "append": partial(write, f"{outside}/file"),
        "create": partial(write, f"{outside}/new"),
        "truncate": partial(os.truncate, f"{outside}/file", 0),
        "open to truncate": lambda: os.open(f"{outside}/file", os.O_RDONLY | os.O_TRUNC),
        "unlink": partial(os.unlink, f"{outside}/file"),
        "rename": partial(os.rename, f"{outside}/file", f"{outside}/other"),
        "rename in": partial(os.rename, f"{outside}/file", "mine"),
        "mkdir": partial(os.mkdir, f"{outside}/folder"),
        "mkfifo": partial(os.mkfifo, f"{outside}/fifo"),
        "symlink": partial(os.symlink, "/", f"{outside}/link"),
        "rmdir": partial(os.rmdir, f"{outside}/empty"),
        "code": partial(write, steps.__file__),
        "new code": partial(write, f"{code}/new.py"),
        "cached code": partial(write, f"{code}/__pycache__/new.pyc"),
        "library": partial(write, shutil.__file__),
        "shared memory": partial(write, "/dev/shm/hostile"),
        "temporary": partial(write, "/tmp/hostile"),
        "core pattern": partial(write, "/proc/sys/kernel/core_pattern"),
        "cgroup": partial(write, "/sys/fs/cgroup/cgroup.procs"),
    }
    return all_met(made)


@attack
def escape_by_links(job):
    """Names inside the own directory that lead outside (row 16)."""
    key, outside = job.data["private"][0], job.data["outside"]

    def through_symlink():
        os.symlink(key, "link")
        return read("link")

    def write_through_symlink():
        os.symlink(f"{outside}/file", "writable")
        write("writable")

    def through_hard_link():
        os.link(key, "hard")
        return read("hard")

    def through_folder():
        os.symlink(os.path.dirname(key), "folder")
        return read(f"folder/{os.path.basename(key)}")

    def through_parents():
        return read("../" * 30 + key)

    def through_descriptor():
        folder = os.open("..", os.O_RDONLY | os.O_PATH)
        return os.read(os.open(os.path.relpath(key, ".."), os.O_RDONLY, dir_fd=folder), 64)

    def by_handle():
        return syscall(303, -100, key.encode(), b"\x80" + bytes(160), bytes(8), 0)

    def by_moving_away():
        os.rename(os.getcwd(), f"{outside}/moved")

    return all_met(
        {
            "symlink": through_symlink,
            "symlink to write": write_through_symlink,
            "hard link": through_hard_link,
            "folder": through_folder,
            "parents": through_parents,
            "descriptor": through_descriptor,
            "handle": by_handle,
            "move": by_moving_away,
        }
    )


@attack
def change_rights_outside(job):
    """Rights, owners, times and attributes of what is not its own (row 17)."""
    file, uid = f"{job.data['outside']}/file", os.getuid()
    return all_met(
        {
            "chmod": partial(os.chmod, file, 0o666),
            "fchmodat2": lambda: syscall(452, -100, file.encode(), 0o666, 0),
            "chown": partial(os.chown, file, uid, uid),
            "lchown": partial(os.lchown, file, uid, uid),
            "utime": partial(os.utime, file, (1, 1)),
            "setxattr": partial(os.setxattr, file, "user.hostile", b"1"),
            "removexattr": partial(os.removexattr, file, "user.kept"),
        }
    )


@attack
def change_rights_through_descriptor(job):
    """The same through a descriptor that was opened to read."""
    fd = os.open(steps.__file__, os.O_RDONLY)
    return all_met(
        {
            "fchmod": lambda: os.fchmod(fd, 0o666),
            "fchown": lambda: os.fchown(fd, os.getuid(), os.getuid()),
            "futimens": lambda: os.utime(fd, (1, 1)),
            "fsetxattr": lambda: os.setxattr(fd, "user.hostile", b"1"),
            "reopen to write": lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR),
        }
    )


@attack
def make_devices(job):
    """A device node of its own; the disk, the memory, a terminal."""

    def device(kind, major, minor):
        name = f"device-{major}-{minor}"
        os.mknod(name, kind | 0o600, os.makedev(major, minor))
        return read(name)

    return all_met(
        {
            "memory": partial(device, 0o020000, 1, 1),
            "disk": partial(device, 0o060000, 254, 0),
            "overlay whiteout": partial(device, 0o020000, 0, 0),
        }
    )


@attack
def take_a_terminal(job):
    """Type into somebody else's terminal."""

    def type_into(path):
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(fd, 0x5412, b"x")  # TIOCSTI

    paths = ("/dev/tty", "/dev/pts/0", "/dev/console", "/dev/ptmx", "/dev/tty1")
    return all_met({path: partial(type_into, path) for path in paths})


@attack
def inject_into_a_pipe(job):
    """TIOCSTI and TIOCLINUX on what it has: nothing of it is a terminal."""
    return all_met(
        {
            f"{name} on {fd}": partial(fcntl.ioctl, fd, request, b"\0" * 8)
            for name, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C), ("TIOCSCTTY", 0x540E))
            for fd in range(5)
        }
    )


@attack
def booby_trap_its_directory(job):
    """What whoever cleans up must not fall for: links out, no rights, great depth, odd names."""
    os.symlink(job.data["outside"], "outside")
    os.symlink("/", "root")
    os.makedirs("locked/inside")
    open("locked/inside/file", "w").close()
    os.mkfifo("fifo")
    for name in ("-rf", "\n", "\udcff", " ", "*", "a" * 255):
        open(name, "w").close()
    with open("sparse", "wb") as file:
        file.truncate(1 << 20)
    folder = os.open(".", os.O_RDONLY)
    for _ in range(job.data["argument"]):
        os.mkdir("deep", dir_fd=folder)
        inner = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    try:
        os.chmod("locked", 0)
    except OSError:
        os.umask(0o777)
        os.mkdir("locked too")
    return "trapped"


@attack
def race_the_sweeper(job):
    """Swap a folder and a link to the outside, over and over, to its last moment."""
    os.mkdir("folder")
    os.symlink(job.data["outside"], "away")
    job.log("begun")
    while True:
        os.rename("folder", "parked")
        os.rename("away", "folder")
        os.rename("folder", "away")
        os.rename("parked", "folder")


@attack
def lease_files(job):
    """A lease on a file that may be read makes whoever opens it wait, for 45 seconds."""

    def lease(kind):
        fcntl.fcntl(os.open(job.data["readable"], os.O_RDONLY), fcntl.F_SETLEASE, kind)

    return all_met(
        {
            "read": partial(lease, fcntl.F_RDLCK),
            "write": partial(lease, fcntl.F_WRLCK),
        }
    )


@attack
def visit_the_neighbour(job):
    """Work directories of other children, which lie beside its own."""
    above = os.path.dirname(os.getcwd())
    if above == "/":
        return {"it has none": "EPERM"}
    theirs = [f"{above}/{number}" for number in range(20) if f"{above}/{number}" != os.getcwd()]
    steps = {f"list {path}": partial(os.listdir, path) for path in [above, "..", *theirs]}
    steps |= {f"write {path}": partial(write, f"{path}/file") for path in theirs}
    steps |= {f"make {path}": partial(os.mkdir, f"{path}-new") for path in theirs[:1]}
    return all_met(steps)


@attack
def make_many_files(job):
    """A number of files that costs whoever removes them time."""
    for number in range(job.data["argument"]):
        os.close(os.open(f"file-{number}", os.O_CREAT | os.O_WRONLY))
    return "made"


@attack
def fill_the_disk(job):
    """Many files, each of a size that is allowed (row 26)."""
    block = b"x" * 1_000_000
    job.log("begun")
    for number in range(30):
        with open(f"file-{number}", "wb") as file:
            file.writelines([block] * 8)
    wait_to_be_killed()


@attack
def fill_by_holes(job):
    """Sizes that are not there, and space without a size."""

    def sparse():
        with open("sparse", "wb") as file:
            file.truncate(1 << 40)

    def allocated():
        # More than the limit, and gone before anybody looks: to hold it is the attack before.
        with open("allocated", "wb") as file:
            os.unlink("allocated")
            os.posix_fallocate(file.fileno(), 0, 1 << 25)

    return all_met({"sparse": sparse, "allocated": allocated})


@attack
def send_its_socket_away(job):
    """Descriptors can go nowhere: there is nobody to send them to."""
    near, far = socket.socketpair()
    socket.send_fds(near, [b"x"], [3])
    fds = socket.recv_fds(far, 1, 1)[1]
    return {"nobody else": "EPERM" if len(fds) == 1 else "done"}
