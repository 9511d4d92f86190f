"""What a walled child may read and write before anything is allowed: paths and rights.

Landlock has no rule that denies: what lies below an allowed directory is allowed. So libraries and
the system's shared data are allowed as whole directories, source trees in pieces: of a directory on
the import path its modules and packages, never the directory itself, because `.env` and
`toril.toml` lie there. A package that holds hidden files or keys is taken apart likewise.

The limits of it: a module or file that is added beside such files after the start cannot be read
before the next start; a secret that is put later into a package without any can be read, and so can
one whose name does not look like it. Names of files below the import path can be listed.
"""

# ruff: noqa: PTH110, PTH112, PTH118, PTH119, PTH120 - no pathlib where children are made

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toril.errors import SandboxUnavailable
from toril.sandbox import landlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from toril.sandbox.allow import Allow

_SYSTEM = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec"),
    *("/usr/local/lib", "/usr/share", "/usr/local/share"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/fonts"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/protocols", "/etc/services"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/ca-certificates"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust/extracted"),
    *("/dev/zero", "/dev/random", "/dev/urandom"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime"),
    *("/proc/version", "/proc/filesystems", "/proc/sys/kernel/osrelease"),
    *("/proc/sys/kernel/cap_last_cap", "/proc/sys/kernel/random", "/proc/sys/vm"),
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage",
)
"""Libraries, certificates, names of hosts, time zones, fonts, facts of the machine; what is not
there is left out. No list of users: what needs their names gets it by `env`."""

_WRITABLE = ("/dev/null", "/dev/full")
_PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin")
_OF_PREFIX = ("lib", "lib32", "lib64", "share", "ssl", "etc/fonts", "pyvenv.cfg")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_HARMLESS = frozenset(
    {".gitignore", ".gitattributes", ".gitkeep", ".keep", ".DS_Store", ".ipynb_checkpoints"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
)
_NOT_SOURCE = frozenset({"node_modules", "toril.toml"})
_SECRET_ENDINGS = (".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx")
_SECRET_STARTS = ("id_rsa", "id_ecdsa", "id_ed25519", "credentials", "secrets", "service-account")
_CODE = (".py", ".so", ".pyc", ".pyi")

_ANY = landlock.READ_FILE | landlock.WRITE_FILE

_MAX_GRANTS = 600
"""Most rules of one queue; chosen: each costs every child 2 us, and the zygote a descriptor."""


_MAX_NAMED = 3


@dataclass(slots=True)
class Tree:
    """Paths and what may be done below them, as they are found.

    Attributes:
        paths: path → rights; a path that is allowed more than once has all of them.
        pieces: directory that had to be taken apart → how many rules it takes.
    """

    paths: dict[str, int] = field(default_factory=dict)
    pieces: dict[str, int] = field(default_factory=dict)

    def add(self, path: str, rights: int) -> None:
        """Allow this; a path that is not there is left out."""
        if os.path.exists(path):
            self.paths[path] = self.paths.get(path, 0) | rights


def defaults(python_path: Iterable[str], processor: str, hidden: Iterable[str] = ()) -> Tree:
    """What every walled child of a queue has.

    Args:
        python_path: the import path.
        processor: `"module:attribute"`; its package is source however it looks.
        hidden: files that are left out whatever their names.
    """
    tree = Tree()
    for path in _SYSTEM:
        tree.add(path, landlock.READ)
    for path in _WRITABLE:
        tree.add(path, landlock.READ_FILE | landlock.WRITE_FILE)
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        for name in _OF_PREFIX:
            tree.add(os.path.join(prefix, name), landlock.READ)
    for name in _CERTIFICATES:
        if path := os.environ.get(name, ""):
            tree.add(path, landlock.READ)
    for path in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        if path.startswith("/"):
            tree.add(path, landlock.READ)
    module = processor.partition(".")[0].partition(":")[0]
    source = _Source(tree, module, frozenset(map(os.path.realpath, hidden)))
    for path in python_path:
        source.add_entry(path)
    source.add_loaded()
    return tree


def with_allowed(tree: Tree, allow: Allow, hidden: Iterable[str] = ()) -> Tree:
    """The same with what the queue is allowed.

    Raises:
        SandboxUnavailable: an allowed path is not there, there are too many rules, or a file that
            is to be hidden lies below what is allowed as a whole.
    """
    whole = Tree(dict(tree.paths), tree.pieces)
    if allow.exec:
        for path in (*_PROGRAMS, os.path.join(sys.prefix, "bin"), sys.executable):
            whole.add(path, landlock.READ)
    for name, paths, rights in (
        ("read", allow.read, landlock.READ),
        ("write", allow.write, landlock.WRITE),
    ):
        for path in paths:
            if not os.path.exists(path):
                raise SandboxUnavailable(
                    f"allow.{name} names {path}, which is not there",
                    f"Create it before the worker starts, or leave --allow-{name} {path} out",
                )
            whole.add(path, rights)
    if allow.read or allow.write:
        whole.paths = _without_covered(whole.paths)
    if allow.exec:
        whole.paths = {path: rights | landlock.EXECUTE for path, rights in whole.paths.items()}
    _check_hidden(whole, hidden)
    if len(whole.paths) > _MAX_GRANTS:
        raise _too_many(len(whole.paths), tree.pieces)
    return whole


def _without_covered(paths: dict[str, int]) -> dict[str, int]:
    """Without rules that say no more than one for a directory above: fewer to pay for."""
    real: dict[str, int] = {}
    for path, rights in paths.items():
        target = os.path.realpath(path)
        real[target] = real.get(target, 0) | rights
    return {
        path: rights
        for path, rights in paths.items()
        if not any(real.get(above, 0) & rights == rights for above in _above(path))
    }


def _above(path: str) -> Iterator[str]:
    """The directories above what a path leads to."""
    above = os.path.realpath(path)
    while above != "/":
        above = os.path.dirname(above)
        yield above


def _too_many(count: int, pieces: dict[str, int]) -> SandboxUnavailable:
    worst = sorted(pieces, key=lambda path: -pieces[path])[:_MAX_NAMED]
    named = ", ".join(f"{path} ({pieces[path]})" for path in worst)
    return SandboxUnavailable(
        f"{count} files and directories would have to be allowed one by one (limit {_MAX_GRANTS}), "
        f"because hidden files or keys lie between them, most in {named}",
        "Start toril in a directory that holds your code and not all this, move hidden files and "
        "keys out of these, or allow one as a whole with --allow-read",
    )


def _check_hidden(tree: Tree, hidden: Iterable[str]) -> None:
    """Landlock knows no exceptions: what lies below an allowed directory is allowed."""
    allowed = {os.path.realpath(path): path for path, rights in tree.paths.items() if rights & _ANY}
    for path in hidden:
        above = os.path.realpath(path)
        while above != "/" and above not in allowed:
            above = os.path.dirname(above)
        if above in allowed:
            raise SandboxUnavailable(
                f"processors could read or write {path}, which only the supervisor may: it lies in "
                f"{allowed[above]}, which they are allowed as a whole",
                f"Move {os.path.basename(path)} elsewhere, or allow less than {allowed[above]}",
            )


class _Source:
    """Takes import path entries apart."""

    def __init__(self, tree: Tree, module: str, hidden: frozenset[str]) -> None:
        self._tree = tree
        self._module = module
        self._hidden = hidden
        self._hidden_names = {os.path.basename(path) for path in hidden}
        self._seen: set[str] = set()

    def add_entry(self, path: str) -> None:
        """One entry of the import path: a library as a whole, sources in pieces, an archive."""
        if not os.path.isdir(path):
            if not is_secret(os.path.basename(path)):
                self._tree.add(path, landlock.READ)
            return
        if _is_library(path):
            self._tree.add(path, landlock.READ)
            return
        if os.path.realpath(path) != "/":
            self._tree.add(path, landlock.READ_DIR)
        for entry in _entries(path):
            if self._is_left_out(entry):
                continue
            if entry.is_dir():
                if entry.name == self._module or _is_package(entry):
                    self._add_package(entry.path)
            elif entry.name.endswith(_CODE):
                self._tree.add(entry.path, landlock.READ)

    def add_loaded(self) -> None:
        """What was imported from elsewhere, as an editable installation's hook does."""
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if "." in name or spec is None or not spec.has_location:
                continue
            for path in spec.submodule_search_locations or [spec.origin or ""]:
                if os.path.isdir(path):
                    self._add_package(path)
                elif path.startswith("/"):
                    self._tree.add(path, landlock.READ)

    def _add_package(self, path: str) -> None:
        if self._is_covered(path):
            return
        self._seen.add(os.path.realpath(path))
        pieces = self._pieces(path)[1]
        if len(pieces) > 1:
            self._tree.pieces[path] = len(pieces)
        for piece in pieces:
            self._tree.add(piece, landlock.READ)

    def _is_covered(self, path: str) -> bool:
        """It was taken apart already, or lies in a directory that is readable as a whole."""
        real = os.path.realpath(path)
        if real in self._seen:
            return True
        above = real
        while above != "/":
            if self._tree.paths.get(above, 0) & landlock.READ_FILE:
                return True
            above = os.path.dirname(above)
        return False

    def _pieces(self, path: str) -> tuple[bool, list[str]]:
        """(nothing secret lies below, what to allow instead of the whole)."""
        is_clean, pieces = True, []
        try:
            entries = list(_entries(path))
        except OSError:
            return False, []
        for entry in entries:
            if self._is_left_out(entry):
                is_clean = False
            elif entry.is_symlink():
                pieces += self._linked(entry)
            elif entry.name == "__pycache__" or not entry.is_dir():
                pieces.append(entry.path)
            else:
                is_sub_clean, below = self._pieces(entry.path)
                is_clean = is_clean and is_sub_clean
                pieces += below
        links = [piece for piece in pieces if not piece.startswith(path + "/")]
        return is_clean, [path, *links] if is_clean else pieces

    def _is_left_out(self, entry: os.DirEntry[str]) -> bool:
        """Links are looked at for what they lead to, by whoever follows them."""
        if entry.name in self._hidden_names and os.path.realpath(entry.path) in self._hidden:
            return True
        return is_secret(entry.name)

    def _linked(self, entry: os.DirEntry[str]) -> list[str]:
        """What a link inside a package leads to, unless that is covered or secret itself."""
        target = os.path.realpath(entry.path)
        if (
            not os.path.exists(target)
            or self._is_covered(target)
            or is_secret(os.path.basename(target))
            or target in self._hidden
        ):
            return []
        self._seen.add(target)
        return self._pieces(target)[1] if os.path.isdir(target) else [target]


def is_secret(name: str) -> bool:
    """Whether a file of that name in a source tree is not a source: hidden, a key, credentials."""
    if name in _HARMLESS or name.endswith(_CODE):
        return False
    return (
        name.startswith((".", *_SECRET_STARTS))
        or name.endswith(_SECRET_ENDINGS)
        or name in _NOT_SOURCE
    )


def _is_library(path: str) -> bool:
    return os.path.basename(path) in {"site-packages", "dist-packages"} or any(
        os.path.realpath(path).startswith(os.path.join(os.path.realpath(prefix), "lib"))
        for prefix in (sys.prefix, sys.base_prefix)
    )


def _is_package(entry: os.DirEntry[str]) -> bool:
    """A directory with modules in it; data and other programs' directories have none."""
    if not entry.name.isidentifier():
        return False
    try:
        return any(one.name.endswith((".py", ".so")) for one in _entries(entry.path))
    except OSError:
        return False


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from entries
