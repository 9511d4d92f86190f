"""The supervisor's end of a data socket, by itself."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
import uvloop

from toril.sandbox.channel import Channel


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_closes_before_it_is_open_closes_nothing_of_others(run):
    """Its number is taken anew at once, by a file of somebody else's."""

    async def close_early() -> None:
        ours, theirs = socket.socketpair()
        number = ours.fileno()
        channel = Channel(ours, 1024, None)
        channel.open(asyncio.get_running_loop())
        await asyncio.sleep(0)
        channel.close()
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        await asyncio.sleep(0.01)
        with theirs:
            assert theirs.recv(1) == b""
        taken += [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        assert number in taken
        await asyncio.sleep(0.01)
        for fd in taken:
            os.close(fd)

    run(close_early())
