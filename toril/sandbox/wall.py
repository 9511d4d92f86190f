"""The wall of one zygote's children: what can be prepared once, so that a fork stays cheap.

`build` runs in the zygote, after the preload and before the first fork. Each mechanism is prepared
by a function of its own module and kept here as a value; the step of `confine.STEPS` that bears its
name applies it in the child, where nothing is decided any more. A further mechanism adds a field
here, a line in `build`, a step there, and a row in `levels.MECHANISMS`
and in `mechanisms.py`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toril.sandbox import (
    landlock,
    mechanisms,
    policy,
    private_root,
    readable,
    seccomp,
    syscalls,
)
from toril.sandbox.allow import Allow
from toril.sandbox.landlock import Grant, Rights
from toril.sandbox.levels import STRICT, WALLED, Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toril.sandbox.bpf import Program
    from toril.sandbox.private_root import Entry


@dataclass(frozen=True, slots=True)
class Wants:
    """What is asked of a wall, as the supervisor says it.

    Attributes:
        level: how strong it has to be.
        allow: what is let through.
        waive: mechanisms whose absence the operator has accepted in writing.
        processor: `"module:attribute"`, whose source has to be readable.
        python_path: the import path.
        work_root: directory that holds the work directories of the zygote's children; empty at
            `process`.
        child_uid: first of the users that children run as when toril is root; None: the default.
        hidden: files that no child may read, whatever their names.
    """

    level: Level
    allow: Allow = field(default_factory=Allow)
    waive: frozenset[str] = frozenset()
    processor: str = ""
    python_path: Sequence[str] = ()
    work_root: str = ""
    child_uid: int | None = None
    hidden: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Wall:
    """What was prepared.

    Attributes:
        level: which steps a child takes.
        allow: what is let through, for the words of a refusal.
        missing: mechanisms that this host lacks and the operator has waived.
        files: None where there is no Landlock.
        filter: the system call filter; None where there is none.
        root: what the root directory of a `strict` child is made of.
    """

    level: Level
    allow: Allow
    missing: frozenset[str] = frozenset()
    files: Files | None = None
    filter: Program | None = None
    root: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Files:
    """What Landlock is to be told.

    Attributes:
        rights: what it governs.
        paths: path without links → rights, for the words of a refusal.
        grants: the same as opened descriptors.
    """

    rights: Rights
    paths: Mapping[str, int]
    grants: tuple[Grant, ...]


def build(wants: Wants) -> Wall:
    """Prepare everything that children share.

    Raises:
        SandboxUnavailable: this host cannot do what the level needs; it names what, and the remedy.
    """
    if wants.level not in WALLED:
        return Wall(wants.level, wants.allow)
    missing = mechanisms.require(wants.level, wants.waive)
    abi = 0 if "landlock" in missing else landlock.abi()
    paths = readable_paths(wants)
    return Wall(
        level=wants.level,
        allow=wants.allow,
        missing=missing,
        files=_files(wants, paths, abi) if abi else None,
        filter=None if "seccomp" in missing else system_calls(wants.allow, abi),
        root=_root(paths) if wants.level in STRICT else (),
    )


def system_calls(allow: Allow, abi: int) -> Program:
    """The filter for this machine, and for what Landlock of that ABI leaves to it."""
    rules = policy.restricted(
        allow,
        has_scopes=abi >= landlock.ABI_OF_SCOPES,
        has_truncate=abi >= landlock.ABI_OF_TRUNCATE,
    )
    return seccomp.compile_policy(rules, syscalls.ARCHITECTURES[os.uname().machine])


def readable_paths(wants: Wants) -> Mapping[str, int]:
    """Path → rights: what children may read and write of the host."""
    tree = readable.defaults(wants.python_path, wants.processor, wants.hidden)
    return readable.with_allowed(tree, wants.allow, wants.hidden).paths


def _root(paths: Mapping[str, int]) -> tuple[Entry, ...]:
    """The same for a private root; where only names may be listed, it shows what may be read."""
    read = [path for path, rights in paths.items() if rights & landlock.READ_FILE]
    write = [path for path, rights in paths.items() if rights & landlock.MAKE_REG]
    return private_root.plan(read, write)


def _files(wants: Wants, paths: Mapping[str, int], abi: int) -> Files:
    rights = Rights.of(abi, has_network=bool(wants.allow.network))
    real: dict[str, int] = {}
    for path, allowed in paths.items():
        target = os.path.realpath(path)
        real[target] = real.get(target, 0) | allowed
    return Files(rights, real, tuple(open_grants(real)))


def open_grants(paths: Mapping[str, int]) -> list[Grant]:
    """The rules for these paths; what has gone meanwhile is left out.

    They stay open as long as the zygote lives: the kernel forgets a rule for a file of /proc when
    it forgets that anybody has looked at it.
    """
    grants = []
    for path, rights in paths.items():
        with suppress(OSError):
            grants.append(landlock.grant(path, rights))
    return grants
