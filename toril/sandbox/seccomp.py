"""From a policy to a system call filter, and its installation in this process.

The program is built once, in the zygote; a child only writes its pid into it. It looks at the
number first: calls with no rule of their own are answered without their arguments, so that the
kernel can remember the answer.

Source: seccomp(2), linux/seccomp.h; `struct seccomp_data` is the system call as the filter sees it.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from toril.sandbox.bpf import assemble, end, jump_equal, jump_greater, load, mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from toril.sandbox.bpf import Instruction, Program
    from toril.sandbox.policy import Policy, Rule
    from toril.sandbox.syscalls import Architecture

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ARGUMENT_BYTES = 8
_ALL_BITS = 0xFFFFFFFF
_ENOSYS = 38

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl


class _Fprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def compile_policy(policy: Policy, machine: Architecture) -> Program:
    """The filter for one kind of machine.

    Calls that the machine does not have are left out; another architecture's calls (32-bit ones on
    x86-64) end the process, calls that are newer than our table do not exist.
    """
    numbers = machine.numbers
    denied = sorted(
        (numbers[name], error) for name, error in policy.denied.items() if name in numbers
    )
    instructions = [
        load(_ARCHITECTURE_AT),
        jump_equal(machine.audit, 1, 0),
        end(_KILL_PROCESS),
        load(_NUMBER_AT),
        jump_greater(machine.highest, 0, 1),
        end(ERRNO | _ENOSYS),
        *_denials(denied),
    ]
    calls = dict.fromkeys(rule.call for rule in policy.rules if rule.call in numbers)
    for call in calls:
        instructions += _judge(numbers[call], [rule for rule in policy.rules if rule.call == call])
    return assemble([*instructions, end(ALLOW)])


def install(program: Program) -> None:
    """Hold this process, and whatever it starts, to the program from now on; for good.

    Raises:
        OSError: the kernel refuses, because it has no filters or no_new_privs is not set.
    """
    code = program.for_pid(os.getpid())
    fprog = _Fprog(program.length, code)
    if _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"installing the system call filter: {os.strerror(number)}")


def _denials(denied: list[tuple[int, int]]) -> Iterator[Instruction]:
    """One comparison per run of numbers with the same errno."""
    runs: list[list[int]] = []
    for number, error in denied:
        if runs and runs[-1][1:] == [number - 1, error]:
            runs[-1][1] = number
        else:
            runs.append([number, number, error])
    for first, last, error in runs:
        if first == last:
            yield jump_equal(first, 0, 1)
        else:
            yield jump_greater(first - 1, 0, 2)
            yield jump_greater(last, 1, 0)
        yield end(ERRNO | error)


def _judge(number: int, rules: Iterable[Rule]) -> list[Instruction]:
    """If it is this call: the answer, after all its rules; else the number is still loaded."""
    body = [one for rule in rules for one in _checks(rule)]
    body.append(end(ALLOW))
    return [jump_equal(number, 0, len(body)), *body]


def _checks(rule: Rule) -> list[Instruction]:
    """Fall through when the rule is kept, end with its errno when it is not."""
    checks = [load(_ARGUMENTS_AT + _ARGUMENT_BYTES * rule.argument)]
    if rule.mask != _ALL_BITS:
        checks.append(mask(rule.mask))
    left = len(rule.values)
    for value in rule.values:
        left -= 1
        # Behind the comparisons stands the refusal, one instruction, and behind it the next rule.
        checks.append(jump_equal(value, left + 1 if rule.is_allowed else left, _next(rule, left)))
    return [*checks, end(ERRNO | rule.error)]


def _next(rule: Rule, left: int) -> int:
    """Where to go when one value is not it: the next one, or past the refusal after the last."""
    return 0 if left or rule.is_allowed else 1
