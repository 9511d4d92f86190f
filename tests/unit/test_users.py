"""Which users children get when the supervisor is root."""

from __future__ import annotations

import pytest

from toril.errors import SandboxUnavailable
from toril.sandbox import users
from toril.sandbox.users import BASES, Users

FREE = 1_999_000_000


@pytest.mark.parametrize(
    ("uid_map", "base"),
    [
        ("         0          0 4294967295\n", BASES[0]),
        ("         0     100000      65536\n", BASES[1]),
        ("         0       1000          1\n         1     100000      65535\n", BASES[1]),
        ("         0       1000          1\n", None),
        ("", None),
    ],
)
def test_default_range_is_one_that_exists_here(uid_map, base):
    assert users.default_base(uid_map) == base


def test_configured_range_wins():
    assert users.base_of(70_000) == 70_000


def test_no_user_is_handed_out_twice_on_this_machine():
    """Another supervisor's children must not be in reach, nor count against each other."""
    one, other = Users(FREE), Users(FREE)

    taken = [one.take(), other.take(), one.take()]

    assert len(set(taken)) == 3
    for holder, uid in zip((one, other, one), taken, strict=True):
        holder.give_back(uid)


def test_user_that_was_given_back_is_taken_again():
    held = Users(FREE)
    first = held.take()
    held.give_back(first)

    assert held.take() == first
    held.give_back(first)


def test_named_users_are_left_out(monkeypatch):
    monkeypatch.setattr(users, "_is_named", lambda uid: uid == FREE)
    held = Users(FREE)

    uid = held.take()
    held.give_back(uid)

    assert uid != FREE


def test_range_that_is_used_up_says_so(monkeypatch):
    monkeypatch.setattr(users, "_is_named", lambda _: True)

    with pytest.raises(SandboxUnavailable, match="--child-uid"):
        Users(FREE).take()
