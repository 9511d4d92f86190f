"""Fixtures of every test folder: real servers, clients, and `async def` tests under uvloop.

`redis_url` (function): an empty database; in `tests/redis` every test that uses it runs once per
server kind, elsewhere on Valkey only unless marked `@pytest.mark.servers("valkey", "redis7")`.
`redis_client` (function): a blocking client on it. `redis_server` (function): the server behind it,
shared by the session; tests leave it running and configured as it was. `private_server` (function):
a factory for servers that one test may kill, freeze and restart.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.support.servers import KINDS, RedisServer, found_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis


def pytest_configure(config: pytest.Config) -> None:
    """Register our marker; forget settings of the developer's shell that the CLI would obey."""
    config.addinivalue_line("markers", "servers(kind, ...): server kinds this test runs against")
    config.addinivalue_line("markers", "entries(number, ...): of the interop checklist")
    for name in [name for name in os.environ if name.startswith("TORIL_")]:
        if name not in {"TORIL_REQUIRE", "TORIL_CHAOS_SEED", "TORIL_DIFFERENTIAL_SEED"}:
            del os.environ[name]


def pytest_report_header() -> str:
    """Which servers this run is about."""
    return "servers: " + ", ".join(f"{kind} {found_version(kind)}" for kind in KINDS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run of a test per server kind it asks for."""
    if "server_kind" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("servers")
        in_redis_folder = metafunc.definition.path.parent.name == "redis"
        default = KINDS if in_redis_folder else KINDS[:1]
        metafunc.parametrize("server_kind", marker.args if marker else default)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end on a fresh uvloop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def bounded() -> None:
        async with asyncio.timeout(_coroutine_timeout_s(pyfuncitem)):
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())
    return True


def _coroutine_timeout_s(item: pytest.Function) -> float:
    """Shortly before pytest-timeout's alarm, whose exception an idle uvloop does not deliver."""
    marker = item.get_closest_marker("timeout")
    return 0.9 * float(marker.args[0] if marker else item.config.getini("timeout"))


@pytest.fixture(scope="session")
def session_servers() -> Iterator[Callable[[str], RedisServer]]:
    """Kind → the session's server of that kind, started when first asked for."""
    with ExitStack() as stack:
        running: dict[str, RedisServer] = {}

        def server_of(kind: str) -> RedisServer:
            if kind not in running:
                running[kind] = stack.enter_context(RedisServer(kind))
            return running[kind]

        yield server_of


@pytest.fixture
def redis_server(
    session_servers: Callable[[str], RedisServer], server_kind: str
) -> Iterator[RedisServer]:
    """The session's server of this test's kind, emptied before the test."""
    server = session_servers(server_kind)
    with server.connect() as client:
        client.flushall()
    return server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of an empty database: `unix:///…?db=0`."""
    return redis_server.url


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A blocking client on the empty database; answers in bytes."""
    with redis_server.connect() as client:
        yield client


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Pytest's, in reach of the other users as which root's children run."""
    top = Path(tempfile.gettempdir())
    for directory in (tmp_path, *tmp_path.parents):
        if directory == top:
            break
        directory.chmod(0o777 if directory == tmp_path else 0o755)
    return tmp_path


@pytest.fixture
def private_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """A factory: `private_server(kind="valkey", append_only=True, options=())` → a running server.

    The append-only file is on by default and lies in `tmp_path`, so that a killed server comes
    back with everything.
    """
    with ExitStack() as stack:

        def start(
            kind: str = "valkey", *, append_only: bool = True, options: tuple[str, ...] = ()
        ) -> RedisServer:
            server = RedisServer(kind, data_dir=tmp_path, append_only=append_only, options=options)
            return stack.enter_context(server)

        yield start
