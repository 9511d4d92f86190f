"""What every attack must meet at every level: one table, read by the arena and by the tests.

The numbers are those of the rows in `docs/isolation.md`; 0 is an attack of ours beside them. `OPEN`
says that an attack succeeds at a level which makes no claim against it: it is not run there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toril.call import Verdict
from toril.sandbox.levels import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1024 * 1024


@dataclass(frozen=True)
class Refused:
    """The attack ran to its end, and every step met one of these words."""

    words: frozenset[str]


@dataclass(frozen=True)
class Ended:
    """The attempt ended with one of these verdicts."""

    verdicts: frozenset[Verdict]


@dataclass(frozen=True)
class Gave:
    """The job returned, and its value is this one; `...`: whatever it is."""

    value: Any = ...


Expected = Refused | Ended | Gave | None
OPEN: Expected = None
TARGETS = object()


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        row: number of its row; 0: ours.
        name: of the processor.
        expected: what it must meet at each level.
        data: the job's data; the targets unless given.
        argument: goes into the targets.
        limits: of the child, where they are not the arena's.
        is_answered: the attacker's own calls get their reply.
        takes_child: at levels where a child is used again, the next job is given to another: who
            runs code in a child can keep it from hearing (`docs/isolation.md`, limits).
    """

    row: int
    name: str
    expected: Mapping[Level, Expected]
    data: Any = TARGETS
    argument: Any = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    is_answered: bool = True
    takes_child: bool = False

    @property
    def id(self) -> str:
        """Its name in test ids."""
        variant = self.argument if self.data is TARGETS else self.data
        return self.name if variant is None else f"{self.name}-{str(variant)[:24]}"


def refused(*words: str) -> Refused:
    return Refused(frozenset(words))


def ended(*verdicts: Verdict) -> Ended:
    return Ended(frozenset(verdicts))


FILTER = refused("EPERM", "EACCES", "ENOSYS")
PROCESS = refused("EPERM", "EACCES", "ENOSYS", "ESRCH", "ENOENT")
PATH = refused("EPERM", "EACCES", "ENOSYS", "ENOENT", "EXDEV", "EROFS", "ELOOP")
SOCKET = refused("EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT", "gaierror")
TERMINAL = refused("EPERM", "EACCES", "ENOENT", "ENXIO", "ENOTTY", "ENODEV", "EIO")
RAISES = ended(Verdict.RAISED)
EXITS = ended(Verdict.EXITED)
CRASHES = ended(Verdict.CRASHED)
LATE = ended(Verdict.TIMED_OUT)
BROKE = ended(Verdict.BROKE_PROTOCOL)
LEAVES = ended(Verdict.PROCESSOR_EXIT)
INVALID = ended(Verdict.RESULT_INVALID)
MEMORY = ended(Verdict.MEMORY_ERROR)
OVER_MEMORY = ended(Verdict.OVER_MEMORY)
NO_MEMORY = ended(Verdict.MEMORY_ERROR, Verdict.OVER_MEMORY, Verdict.CRASHED, Verdict.TIMED_OUT)
ANY = Gave()
OWN = Gave("own")
CAUGHT = ended(Verdict.RETURNED, Verdict.BROKE_PROTOCOL)
"""Its own result came first, or the forged one did and was caught."""
SHORT = {"timeout_s": 0.25, "grace_s": 0.05}


def case(row: int, name: str, *expected: Expected, **rest: Any) -> Case:
    """A row of the table: what is expected at process, restricted and strict.

    One expectation holds at every level, two leave out `strict`, which then is as `restricted`.
    """
    levels = dict(zip(Level, expected, strict=False))
    for level in Level:
        levels.setdefault(level, expected[-1])
    return Case(row, name, levels, **rest)


PROCESSES = [
    case(1, "kill_others", OPEN, PROCESS),
    case(1, "kill_everybody", OPEN, PROCESS),
    case(1, "kill_others_by_thread", OPEN, PROCESS),
    case(2, "kill_others_by_pidfd", OPEN, PROCESS),
    case(3, "kill_others_by_ownership", OPEN, PROCESS),
    case(4, "trace_others", OPEN, PROCESS),
    case(5, "read_memory_of_others", OPEN, PROCESS),
    case(6, "read_proc_of_others", OPEN, PROCESS),
    case(7, "look_for_secrets", ANY),
    case(8, "bend_others", OPEN, PROCESS),
    case(9, "mark_others_for_death", OPEN, PATH),
    case(
        0,
        "signal_at_death_of_others",
        OPEN,
        refused("EPERM", "EACCES", "ENOSYS", "EINVAL", "ESRCH"),
    ),
    case(0, "spare_itself_from_oom", OPEN, PATH),
    case(0, "outlive_its_parent", LATE, limits=SHORT),
]

KERNEL = [
    case(18, "run_programs", OPEN, PATH),
    case(19, "make_namespaces", OPEN, PROCESS),
    case(19, "mount_things", OPEN, FILTER),
    case(19, "ask_for_kernel_machinery", OPEN, FILTER),
    case(19, "use_another_entry", OPEN, FILTER),
    case(24, "hoard_in_memfds", OPEN, FILTER),
    case(50, "set_clocks", OPEN, FILTER),
    case(0, "use_the_32_bit_entry", OPEN, CRASHES),
    case(0, "become_somebody", OPEN, FILTER, refused("EPERM", "EACCES", "EINVAL")),
    case(0, "loosen_its_own_wall", OPEN, FILTER),
]

FILES = [
    case(13, "read_system_secrets", OPEN, PATH),
    case(14, "read_private_files", OPEN, PATH),
    case(15, "write_outside", OPEN, PATH),
    case(16, "escape_by_links", OPEN, PATH),
    case(17, "change_rights_outside", OPEN, PATH),
    case(17, "change_rights_through_descriptor", OPEN, PATH),
    case(0, "make_devices", OPEN, PATH),
    case(0, "take_a_terminal", OPEN, TERMINAL),
    case(0, "inject_into_a_pipe", TERMINAL),
    case(0, "booby_trap_its_directory", OPEN, Gave("trapped"), argument=60),
    case(0, "lease_files", OPEN, FILTER),
    case(0, "visit_the_neighbour", OPEN, PATH),
    case(0, "make_many_files", OPEN, Gave("made"), argument=300),
    case(0, "race_the_sweeper", OPEN, LATE, limits=SHORT),
    case(26, "fill_the_disk", OPEN, ended(Verdict.OVER_DISK), RAISES),
    case(0, "fill_by_holes", OPEN, ANY),
    case(0, "send_its_socket_away", refused("EPERM")),
]

NETWORK = [
    case(10, "reach_redis_by_tcp", OPEN, SOCKET),
    case(11, "use_other_families", OPEN, SOCKET),
    case(12, "reach_redis_by_path", OPEN, SOCKET),
    case(0, "make_a_datagram_pair", OPEN, SOCKET),
    case(0, "turn_its_own_socket_round", OPEN, SOCKET),
]

QUANTITIES = [
    case(20, "bomb_with_forks", OPEN, Gave({"made": 0, "errno": 1})),
    case(20, "bomb_with_families", LATE, limits={"timeout_s": 0.4, "grace_s": 0.05}),
    case(21, "bomb_with_threads", ANY),
    case(21, "bomb_with_small_threads", ended(Verdict.RETURNED, Verdict.OVER_THREADS)),
    case(
        21,
        "keep_small_threads",
        ended(Verdict.OVER_THREADS),
        ended(Verdict.RETURNED, Verdict.OVER_THREADS),
        ANY,
    ),
    case(0, "hold_descriptors_in_flight", Gave("held"), takes_child=True),
    case(22, "take_memory", MEMORY, data=None),
    case(0, "hoard_from_c", ANY),
    case(23, "take_shared_memory", OVER_MEMORY, data=None),
    case(
        0,
        "hoard_in_stacks",
        ended(Verdict.RETURNED, Verdict.OVER_MEMORY, Verdict.CRASHED, Verdict.RAISED),
    ),
    case(0, "hoard_in_pipes", ANY),
    case(25, "open_many", ANY, data=None),
    case(
        0,
        "raise_its_own_limits",
        OPEN,
        refused("EPERM", "EACCES", "ENOSYS", "ValueError", "ENOMEM"),
    ),
    case(27, "spin_in_c", LATE, data=None, limits=SHORT),
    case(27, "spin_in_regular_expression", LATE, data=None, limits=SHORT),
    case(28, "ignore_everything", LATE, data=None, limits=SHORT),
    case(28, "stop_itself", LATE, limits=SHORT),
    case(28, "swallow_every_interrupt", LATE, limits=SHORT),
    case(0, "answer_sigterm_with_a_result", LATE, limits=SHORT),
    case(0, "spin_in_a_finaliser", LATE, limits=SHORT),
    case(31, "recurse_without_end", NO_MEMORY, limits={"timeout_s": 0.5, "grace_s": 0.05}),
    case(45, "flood_stdout", Gave("said"), argument=40),
    case(45, "flood_stdout_for_ever", LATE, limits=SHORT),
    case(49, "leave_zombies", Gave("left"), RAISES),
    case(51, "leak", Gave(1), data=20 * MIB),
]

ENDS = [
    case(29, "exit_with", EXITS, data=0),
    case(29, "exit_with", EXITS, data=3),
    case(30, "segfault", CRASHES, data=None),
    case(30, "abort", CRASHES, data=None),
    case(30, "kill_itself", CRASHES, CRASHES, Gave(None), data=None),
    case(32, "exit_politely", LEAVES, data=1),
    case(32, "interrupt_keyboard", LEAVES, data=None),
    case(32, "raise_base", LEAVES, data=None),
    case(33, "raise_silent_killer", EXITS, data=None),
    case(33, "raise_mute", RAISES, data=None),
    case(34, "raise_very_long", ended(Verdict.RAISED, Verdict.MEMORY_ERROR), data=None),
    case(34, "raise_surrogate", RAISES, data=None),
    case(35, "return_a_set", INVALID, data=None),
    case(35, "return_nan", INVALID, data=None),
    case(35, "return_a_circle", INVALID, data=None),
    case(35, "return_a_surrogate", INVALID, data=None),
    case(35, "return_depth", INVALID, data=200_000),
    case(36, "return_bytes_of_text", ended(Verdict.RESULT_TOO_LARGE), data=24 * MIB),
    case(37, "exit_while_encoded", EXITS, data=None),
    case(46, "daemonise", ANY, RAISES, data=None),
    case(47, "leave_thread", Gave("left"), data=None),
    case(47, "hang_when_it_ends", Gave("left")),
]

RULES = ("garbage", "length", "version", "type", "supervisor-type", "sequence", "state", "not-json")

WIRE = [
    *(case(38, "break_rule", BROKE, data=rule) for rule in RULES),
    *(
        case(38, "bomb_with_json", INVALID, argument=one, takes_child=True)
        for one in ("deep", "closed", "objects")
    ),
    *(
        case(38, "bomb_with_json", ANY, argument=one, takes_child=True)
        for one in ("digits", "escapes")
    ),
    *(
        case(38, "bomb_the_progress_with_json", BROKE, argument=one)
        for one in ("progress", "data", "error")
    ),
    case(38, "bomb_the_progress_with_json", LATE, argument="call", limits=SHORT),
    case(39, "send_half_a_frame", LATE, limits=SHORT),
    case(0, "promise_a_large_frame", LATE, limits=SHORT),
    case(40, "flood_progress", LATE, limits=SHORT),
    case(0, "flood_data", Gave("said"), argument=8),
    case(0, "flood", LATE, data=None, limits=SHORT),
    case(0, "flood_calls", BROKE, data=None, is_answered=False),
    case(0, "flood_calls_of_all_kinds", BROKE, is_answered=False),
    case(0, "never_read", ended(Verdict.BROKE_PROTOCOL, Verdict.TIMED_OUT), limits=SHORT),
    case(41, "answer_with_odd_numbers", BROKE, argument=0),
    case(41, "answer_with_odd_numbers", BROKE, argument=2**63),
    case(41, "answer_with_odd_numbers", BROKE, argument=2**64 - 1),
    case(42, "second_result", Gave(1), data=None),
    case(42, "frame_when_idle", Gave("first"), data=None, takes_child=True),
    case(42, "answer_for_the_next_job", OWN),
    case(42, "answer_the_next_job_from_a_thread", CAUGHT),
    case(42, "answer_the_next_job_without_a_thread_to_see", CAUGHT, takes_child=True),
    case(0, "log_after_the_end", OWN),
    case(0, "lie_about_its_usage", Gave("lied")),
    case(0, "lie_about_its_last", Gave("lied")),
    case(43, "close_socket", ended(Verdict.DISCONNECTED), data=None),
    case(43, "close_everything", ended(Verdict.EXITED, Verdict.DISCONNECTED), data=None),
    case(43, "close_for_writing", ended(Verdict.DISCONNECTED)),
    case(43, "put_another_file_in_its_place", ended(Verdict.EXITED, Verdict.DISCONNECTED)),
    case(44, "send_fds", BROKE, data=None),
    case(44, "send_many_descriptors", ended(Verdict.RETURNED, Verdict.RAISED)),
    case(0, "send_out_of_band", ended(Verdict.RETURNED, Verdict.RAISED)),
    case(0, "write_to_the_stack_pipe", Gave("written")),
    case(0, "steal_from_the_supervisor", LATE, limits=SHORT),
]

INSIDE = [
    case(48, "spoil_everything", Gave("spoiled"), data=None),
    case(48, "change_its_place", OWN),
    case(48, "replace_the_writers", OWN),
    case(48, "spoil_the_interpreter", OWN),
    case(0, "trace_the_runtime", OWN),
    case(0, "hook_the_collector", OWN),
    case(0, "close_what_it_does_not_own", OWN),
    case(0, "change_the_wire", LATE, limits=SHORT),
    case(0, "grow_the_sequence", OWN),
    case(0, "rename_itself", OWN, ended(Verdict.RETURNED, Verdict.RAISED)),
]

OWN_PROC = refused("EPERM", "EACCES", "ENOENT", "EINVAL", "EROFS")
SELVES = [
    case(0, "go_out_by_its_own_proc", OPEN, PROCESS),
    case(0, "change_itself_by_proc", OPEN, OWN_PROC),
    case(0, "hide_elsewhere", OPEN, PATH),
    case(0, "call_what_is_not_known_yet", OPEN, FILTER),
    case(0, "make_set_user_id_files", OPEN, FILTER),
]

CASES = [*PROCESSES, *KERNEL, *FILES, *NETWORK, *QUANTITIES, *ENDS, *WIRE, *INSIDE, *SELVES]
ROWS = 51

_STILL = {"kill_others", "kill_others_by_pidfd", "trace_others", "read_proc_of_others"}
_STILL |= {"reach_redis_by_path", "make_a_datagram_pair", "read_private_files", "bend_others"}
_STILL |= {"write_outside", "make_namespaces", "mount_things", "use_another_entry"}

GRANTS = {
    "exec": [
        case(20, "bomb_with_forks", OPEN, ANY),
        case(20, "bomb_with_families", LATE, limits={"timeout_s": 0.4, "grace_s": 0.05}),
        case(1, "kill_everybody", OPEN, ANY),
        case(46, "daemonise", ANY, data=None),
        case(49, "leave_zombies", Gave("left")),
        *(one for one in CASES if one.name in _STILL),
    ],
    "network": [one for one in CASES if one.name in _STILL],
}
"""What is still refused at `restricted` to processors that may start processes, or use TCP."""
