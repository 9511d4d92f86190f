"""The system call filter, run by a small interpreter of BPF: every call of the policy's tables."""

from __future__ import annotations

import errno
import struct

import pytest

from toril.sandbox import policy
from toril.sandbox.allow import Allow
from toril.sandbox.bpf import AND, JUMP_EQUAL, JUMP_GREATER, LOAD_WORD, RETURN
from toril.sandbox.policy import Rule, restricted
from toril.sandbox.seccomp import ALLOW, ERRNO, compile_policy
from toril.sandbox.syscalls import AARCH64, ARCHITECTURES, HIGHEST, X86_64

PID = 4711
KILL = 0x80000000
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""

TCP = Allow(network=("tcp",))
BARE = restricted(Allow(), has_scopes=True, has_truncate=True)

machines = pytest.mark.parametrize("machine", ARCHITECTURES.values(), ids=lambda one: one.name)


def answer(code: bytes, number: int, *arguments: int, audit: int) -> int:
    """What the kernel would be told about one system call."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, audit, 0, *words)
    instructions = list(struct.iter_unpack("=HBBI", code))
    at, loaded = 0, 0
    while True:
        operation, jt, jf, k = instructions[at]
        at += 1
        match operation:
            case _ if operation == LOAD_WORD:
                loaded = struct.unpack_from("=I", data, k)[0]
            case _ if operation == AND:
                loaded &= k
            case _ if operation == JUMP_EQUAL:
                at += jt if loaded == k else jf
            case _ if operation == JUMP_GREATER:
                at += jt if loaded > k else jf
            case _ if operation == RETURN:
                return k
            case _:
                raise AssertionError(operation)


def asked(name: str, *arguments: int, allow: Allow = BARE, machine=X86_64, **has: bool) -> int:
    """The errno of a call, 0 if it passes."""
    rules = (
        allow
        if isinstance(allow, policy.Policy)
        else restricted(allow, **({"has_scopes": True, "has_truncate": True} | has))
    )
    code = compile_policy(rules, machine).for_pid(PID)
    found = answer(code, machine.numbers[name], *arguments, audit=machine.audit)
    return 0 if found == ALLOW else found - ERRNO


@machines
def test_every_denied_call_is_denied_with_its_errno(machine):
    code = compile_policy(BARE, machine).for_pid(PID)
    for name, error in BARE.denied.items():
        if name in machine.numbers:
            found = answer(code, machine.numbers[name], audit=machine.audit)
            assert found == ERRNO | error, name


@machines
def test_every_other_known_call_passes(machine):
    code = compile_policy(BARE, machine).for_pid(PID)
    named = {
        machine.numbers[name]
        for name in (*BARE.denied, *(rule.call for rule in BARE.rules))
        if name in machine.numbers
    }
    for number in set(range(HIGHEST + 1)) - named:
        assert answer(code, number, audit=machine.audit) == ALLOW, number


@machines
def test_every_name_of_every_policy_has_a_number_somewhere(machine):
    """What a machine does not have is only what the newer calls of the same kind replaced."""
    gone = {"chmod", "chown", "fork", "futimesat", "inotify_init", "ioperm", "iopl", "lchown"}
    gone |= {"creat", "mknod", "modify_ldt", "open", "uselib", "utime", "utimes", "vfork"}
    for allow in (Allow(), Allow(exec=True), TCP):
        for has_truncate in (True, False):
            rules = restricted(allow, has_scopes=False, has_truncate=has_truncate)
            names = {*rules.denied, *(rule.call for rule in rules.rules)}
            assert names - machine.numbers.keys() == (names & gone if machine is AARCH64 else set())


@machines
def test_no_two_calls_share_a_number(machine):
    assert len(set(machine.numbers.values())) == len(machine.numbers)
    assert max(machine.numbers.values()) <= HIGHEST


@machines
def test_numbers_that_are_newer_than_the_table_do_not_exist(machine):
    code = compile_policy(BARE, machine).for_pid(PID)
    for number in (HIGHEST + 1, 0x40000000, 0x40000000 + 59, 0xFFFFFFFF):
        assert answer(code, number, audit=machine.audit) == ERRNO | errno.ENOSYS


@machines
def test_calls_of_another_architecture_end_the_process(machine):
    code = compile_policy(BARE, machine).for_pid(PID)
    i386 = 0x40000003
    others = {one.audit for one in ARCHITECTURES.values()} - {machine.audit} | {i386}
    for audit in others:
        assert answer(code, 1, audit=audit) == KILL


@machines
def test_a_program_fits_and_only_the_pid_is_open_in_it(machine):
    program = compile_policy(BARE, machine)
    assert program.length < MAX_INSTRUCTIONS
    changed = {
        at
        for at, (one, two) in enumerate(zip(program.code, program.for_pid(0xFFFFFFFF), strict=True))
        if one != two
    }
    assert changed == {at + byte for at in program.pid_offsets for byte in range(4)}


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("kill", (PID, 9), 0),
        ("kill", (1, 9), errno.EPERM),
        ("kill", (0, 9), errno.EPERM),
        ("kill", (0xFFFFFFFF, 9), errno.EPERM),
        ("tgkill", (PID, 12, 9), 0),
        ("tgkill", (PID + 1, 12, 9), errno.EPERM),
        ("prlimit64", (0, 7), 0),
        ("prlimit64", (PID, 7), 0),
        ("prlimit64", (1, 7), errno.EPERM),
        ("setpriority", (0, 0), 0),
        ("setpriority", (0, PID), 0),
        ("setpriority", (0, 1), errno.EPERM),
        ("setpriority", (2, 0), errno.EPERM),
        ("ioprio_set", (1, 0), 0),
        ("ioprio_set", (3, 0), errno.EPERM),
        ("sched_setaffinity", (0,), 0),
        ("sched_setaffinity", (1,), errno.EPERM),
        ("fcntl", (3, 1), 0),
        ("fcntl", (3, 8), errno.EPERM),
        ("fcntl", (3, 10), errno.EPERM),
        ("fcntl", (3, 15), errno.EPERM),
        ("ioctl", (3, 0x5401), 0),
        ("ioctl", (3, 0x5412), errno.EPERM),
        ("ioctl", (3, 0x8901), errno.EPERM),
        ("ioctl", (3, 0x8902), errno.EPERM),
        ("ioctl", (3, 0xFFFFFFFF_00005412), errno.EPERM),
        ("prctl", (15,), 0),
        ("prctl", (1,), errno.EPERM),
        ("prctl", (4,), errno.EPERM),
        ("personality", (0xFFFFFFFF,), 0),
        ("personality", (0x0040000,), errno.EPERM),
        ("clone", (0x3D0F00,), 0),
        ("clone", (17,), errno.EPERM),
        ("clone", (0x10000000 | 17,), errno.EPERM),
        ("clone", (0x10000000 | 0x10000,), errno.EPERM),
        ("clone", (0x00008000 | 0x10000,), errno.EPERM),
        ("socketpair", (1, 1), 0),
        ("socketpair", (1, 1 | 0x80800), 0),
        ("socketpair", (1, 2), errno.EPERM),
        ("socketpair", (2, 1), errno.EPERM),
        ("socket", (1, 1), errno.EACCES),
        ("socket", (2, 1), errno.EACCES),
        ("socket", (16, 3), errno.EACCES),
        ("connect", (3,), errno.EPERM),
        ("clone3", (), errno.ENOSYS),
        ("io_uring_setup", (), errno.ENOSYS),
    ],
)
def test_arguments_are_judged(name, arguments, error):
    assert asked(name, *arguments) == error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((2, 1), 0),
        ((2, 1 | 0x80000), 0),
        ((10, 2), 0),
        ((1, 1), errno.EACCES),
        ((16, 3), errno.EACCES),
        ((40, 1), errno.EACCES),
        ((2, 3), errno.EACCES),
    ],
)
def test_a_network_is_tcp_and_udp_and_never_a_local_socket(arguments, error):
    assert asked("socket", *arguments, allow=TCP) == error
    assert asked("connect", 3, allow=TCP) == 0


def test_exec_lets_processes_start_and_still_no_namespaces():
    allow = Allow(exec=True)
    assert [asked(name, allow=allow) for name in ("execve", "fork", "vfork")] == [0, 0, 0]
    assert asked("clone", 17, allow=allow) == 0
    assert asked("clone", 0x10000000 | 17, allow=allow) == errno.EPERM


def test_own_processes_can_be_ended_only_where_the_domain_bounds_signals():
    allow = Allow(exec=True)
    assert asked("kill", 1234, 9, allow=allow) == 0
    assert asked("kill", 1234, 9, allow=allow, has_scopes=False) == errno.EPERM


def test_truncation_is_the_filters_where_landlock_does_not_know_it():
    assert asked("truncate", allow=Allow(), has_truncate=False) == errno.EPERM
    assert asked("openat", 0, 0, 0o1000, allow=Allow(), has_truncate=False) == errno.EPERM
    assert asked("openat", 0, 0, 0o1001, allow=Allow(), has_truncate=False) == 0
    assert asked("openat", 0, 0, 0o1000, allow=BARE) == 0


@pytest.mark.parametrize(
    ("name", "before"), [("creat", 1), ("open", 2), ("openat", 3), ("mknod", 1), ("mknodat", 2)]
)
def test_nothing_is_made_that_runs_as_its_owner(name, before):
    arguments = [0] * before
    assert asked(name, *arguments, 0o644) == 0
    assert asked(name, *arguments, 0o1777) == 0
    assert {asked(name, *arguments, mode | 0o755) for mode in (0o4000, 0o2000)} == {errno.EPERM}
    assert asked("openat2") == errno.ENOSYS


def test_all_rules_of_a_call_have_to_pass():
    both = policy.Policy(
        {},
        (
            Rule("socket", 0, (2,), is_allowed=True),
            Rule("socket", 1, (3, 5), is_allowed=False, error=errno.EACCES),
        ),
    )
    assert asked("socket", 1, 1, allow=both) == errno.EPERM
    assert asked("socket", 2, 5, allow=both) == errno.EACCES
    assert asked("socket", 2, 1, allow=both) == 0
