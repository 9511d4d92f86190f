"""What is said of a work directory, by a thread that looks at it."""

from __future__ import annotations

import asyncio
import os

from toril.sandbox.disk_watch import DiskWatch, nameless_bytes

MIB = 1024 * 1024


async def judged(directory, limit_bytes: int, pid: int = 0) -> str:
    loop = asyncio.get_running_loop()
    watch, answer = DiskWatch(loop, limit_bytes), loop.create_future()
    watch.look(str(directory), pid, answer.set_result)
    words: str = await answer
    watch.close()
    watch._thread.join()
    return words


async def test_little_is_nothing_to_say(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))

    assert await judged(tmp_path, MIB) == ""


async def test_too_much_is_told_with_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(bytes(2 * MIB))

    assert await judged(tmp_path, MIB) == "at least 2 MiB (limit 1 MiB), killed"


async def test_directory_that_cannot_be_listed_is_told(tmp_path):
    """Who hides what is in it has used it up, as far as anybody can see."""
    inner = tmp_path
    for _ in range(20):
        inner = inner / ("d" * 200)
        os.mkdir(inner.name, dir_fd=(fd := os.open(inner.parent, os.O_RDONLY)))
        os.close(fd)
        if len(str(inner)) > 3500:
            break
    fd = os.open(inner, os.O_RDONLY)
    for _ in range(3):
        os.mkdir("e" * 250, dir_fd=fd)
        below = os.open("e" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)

    assert "cannot be listed" in await judged(tmp_path, MIB)


async def test_open_file_without_a_name_counts(tmp_path):
    """A removed file takes its space until it is closed."""
    with (tmp_path / "a").open("wb") as file:
        (tmp_path / "a").unlink()
        before = nameless_bytes(os.getpid())
        file.write(bytes(2 * MIB))
        file.flush()

        assert nameless_bytes(os.getpid()) - before >= 2 * MIB
        assert "limit 1 MiB" in await judged(tmp_path, MIB, os.getpid())


async def test_nothing_is_told_to_a_loop_that_is_gone(tmp_path):
    loop = asyncio.new_event_loop()
    watch = DiskWatch(loop, MIB)
    loop.close()

    watch.look(str(tmp_path), 0, lambda _: None)
    watch.close()
    watch._thread.join()

    assert not watch._thread.is_alive()
