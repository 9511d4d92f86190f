"""Programs: what is forgotten is loaded and only that repeated, what is cut off is sent again."""

from __future__ import annotations

import pytest
from redis.exceptions import NoScriptError

from toril.errors import RedisRefused, RedisUnavailable
from toril.runtime.command import Command
from toril.runtime.dialog import RETRY_PAUSES_S, Done, Pause, Send, advance, call, call_all
from toril.runtime.scripts import script

COUNTS = Command("counts", ("b:q:",), ("",), lambda reply: ("counts", reply))
STATE = Command("state", ("b:q:",), ("", "7"), lambda reply: ("state", reply))


def test_a_command_is_one_evalsha_and_its_reply_is_parsed():
    program = call(COUNTS)
    sent = advance(program, None)
    assert sent == Send((("EVALSHA", script("counts").sha, 1, "b:q:", ""),))
    assert advance(program, [[1]]) == Done(("counts", [1]))


def test_only_calls_of_forgotten_scripts_are_repeated_after_loading():
    program = call_all([COUNTS, STATE, COUNTS])
    advance(program, None)
    again = advance(program, [[1], NoScriptError("x"), [3]])
    assert isinstance(again, Send)
    assert [packet[:2] for packet in again.packets] == [
        ("SCRIPT", "LOAD"),
        ("EVALSHA", script("state").sha),
    ]
    assert advance(program, [b"sha", [2]]) == Done(
        [("counts", [1]), ("state", [2]), ("counts", [3])]
    )


def test_an_error_takes_only_its_own_place():
    program = call_all([COUNTS, STATE])
    advance(program, None)
    error = RedisRefused("no")
    assert advance(program, [error, [2]]) == Done([error, ("state", [2])])


def test_a_server_that_forgets_again_is_unavailable():
    program = call(COUNTS)
    advance(program, None)
    advance(program, [NoScriptError("x")])
    with pytest.raises(RedisUnavailable, match="forgets"):
        advance(program, [b"sha", NoScriptError("x")])


def test_a_cut_exchange_is_sent_again_after_pauses_until_the_last():
    program = call(COUNTS)
    first = advance(program, None)
    for pause_s in RETRY_PAUSES_S:
        assert advance(program, RedisUnavailable("cut")) == Pause(pause_s)
        assert advance(program, []) == first
    with pytest.raises(RedisUnavailable, match="cut for good"):
        advance(program, RedisUnavailable("cut for good"))


def test_what_would_come_again_is_not_sent_again():
    program = call(COUNTS)
    advance(program, None)
    with pytest.raises(RedisRefused, match="login"):
        advance(program, RedisRefused("login"))
