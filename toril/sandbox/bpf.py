"""A small assembler for the kernel's classic BPF: values in, bytes out; nothing is installed here.

Only what a system call filter needs: load a word, mask it, compare it, return. Jumps reach forward
only and no further than one rule, so that no program of ours can be too long for their 8 bits.

Source: linux/filter.h, linux/bpf_common.h, seccomp(2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LOAD_WORD = 0x20
"""A := the 32-bit word at offset k (BPF_LD | BPF_W | BPF_ABS)."""

AND = 0x54
"""A := A & k (BPF_ALU | BPF_AND | BPF_K)."""

JUMP_EQUAL = 0x15
"""Skip jt instructions if A == k, else jf (BPF_JMP | BPF_JEQ | BPF_K)."""

JUMP_GREATER = 0x25
"""Skip jt instructions if A > k, else jf (BPF_JMP | BPF_JGT | BPF_K)."""

RETURN = 0x06
"""End with k (BPF_RET | BPF_K)."""

_INSTRUCTION = struct.Struct("=HBBI")
_IMMEDIATE_AT = 4


@dataclass(frozen=True, slots=True)
class Instruction:
    """One `struct sock_filter`.

    Attributes:
        code: what it does.
        k: its operand; None: the pid of the process that installs the program.
        jt, jf: instructions skipped when a comparison holds, and when it does not.
    """

    code: int
    k: int | None
    jt: int = 0
    jf: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """Assembled instructions.

    Attributes:
        code: the bytes, with 0 for the pid.
        pid_offsets: where in them the pid has to be written.
    """

    code: bytes
    pid_offsets: tuple[int, ...]

    @property
    def length(self) -> int:
        """In instructions."""
        return len(self.code) // _INSTRUCTION.size

    def for_pid(self, pid: int) -> bytes:
        """The program as that process installs it."""
        code = bytearray(self.code)
        for offset in self.pid_offsets:
            struct.pack_into("=I", code, offset, pid)
        return bytes(code)


def assemble(instructions: Iterable[Instruction]) -> Program:
    """Bytes of instructions, in order."""
    code, offsets = bytearray(), []
    for one in instructions:
        if one.k is None:
            offsets.append(len(code) + _IMMEDIATE_AT)
        code += _INSTRUCTION.pack(one.code, one.jt, one.jf, one.k or 0)
    return Program(bytes(code), tuple(offsets))


def load(offset: int) -> Instruction:
    """Load the word at `offset`."""
    return Instruction(LOAD_WORD, offset)


def mask(bits: int) -> Instruction:
    """Keep these bits of what was loaded."""
    return Instruction(AND, bits)


def jump_equal(value: int | None, then: int, otherwise: int) -> Instruction:
    """Skip `then` instructions if what was loaded is `value`, else `otherwise`."""
    return Instruction(JUMP_EQUAL, value, then, otherwise)


def jump_greater(value: int, then: int, otherwise: int) -> Instruction:
    """Skip `then` instructions if what was loaded is greater than `value`, else `otherwise`."""
    return Instruction(JUMP_GREATER, value, then, otherwise)


def end(action: int) -> Instruction:
    """Answer with `action`."""
    return Instruction(RETURN, action)
