"""Which rights are asked of a kernel by its Landlock ABI, and what the filter then has to cover."""

from __future__ import annotations

import pytest

from toril.sandbox import landlock, policy
from toril.sandbox.allow import Allow
from toril.sandbox.landlock import Rights

ABIS = range(1, 9)


def rights(abi: int, *, has_network: bool = False) -> Rights:
    return Rights.of(abi, has_network=has_network)


@pytest.mark.parametrize(
    ("abi", "files", "net", "scopes"),
    [
        (1, 0x1FFF, 0, 0),
        (2, 0x3FFF, 0, 0),
        (3, 0x7FFF, 0, 0),
        (4, 0x7FFF, 3, 0),
        (5, 0xFFFF, 3, 0),
        (6, 0xFFFF, 3, 3),
        (7, 0xFFFF, 3, 3),
        (99, 0xFFFF, 3, 3),
    ],
)
def test_each_abi_is_asked_for_what_it_knows(abi, files, net, scopes):
    assert rights(abi) == Rights(files, net, scopes)


@pytest.mark.parametrize("abi", ABIS)
def test_an_allowed_network_is_not_governed_and_nothing_else_is_lost(abi):
    bare, networked = rights(abi), rights(abi, has_network=True)
    assert networked == Rights(bare.files, 0, bare.scopes)


@pytest.mark.parametrize("abi", ABIS)
def test_what_an_older_kernel_does_not_govern_the_filter_denies(abi):
    """Truncating, signals to others and sockets are refused by one of the two, at every ABI."""
    found = policy.restricted(
        Allow(),
        has_scopes=abi >= landlock.ABI_OF_SCOPES,
        has_truncate=abi >= landlock.ABI_OF_TRUNCATE,
    )
    judged = {rule.call for rule in found.rules}
    assert rights(abi).files & landlock.TRUNCATE or "truncate" in found.denied
    assert rights(abi).files & landlock.TRUNCATE or "openat" in judged
    assert {"kill", "tgkill", "socket"} <= judged
    assert {"tkill", "connect", "bind"} <= found.denied.keys()


def test_no_rule_lets_devices_be_made_or_steered():
    forbidden = landlock.MAKE_CHAR | landlock.MAKE_BLOCK | landlock.IOCTL_DEV | landlock.EXECUTE
    assert landlock.WRITE & forbidden == 0
    assert landlock.READ & landlock.WRITE_FILE == 0
