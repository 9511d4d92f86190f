"""Every way to a server that redis-py's URLs name, for the blocking and the asyncio queue."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import uvloop

from tests.support.tied import tied
from tests.support.waiting import until
from toril.errors import RedisRefused, RedisUnavailable
from toril.runtime.connection import open_async_pool, server_name
from toril.runtime.exchanging import SharedWire
from toril.runtime.queue import AsyncQueue, Queue
from toril.runtime.resp import packed

PASSWORD = "s3cret#/:@pass"


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def certificate(directory):
    """A self-signed certificate for localhost; its file is its own authority."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix="toril-c-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def tls_server(directory):
    """Port and certificate of Debian's redis-server with TLS and a password."""
    key, cert = certificate(directory)
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "bind": "127.0.0.1",
        "tls-cert-file": cert,
        "tls-key-file": key,
        "tls-ca-cert-file": cert,
        "tls-auth-clients": "no",
        "requirepass": PASSWORD,
        "save": "",
        "dir": directory,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(
        tied(["redis-server", *words]), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        client = redis.Redis(
            host="localhost", port=port, password=PASSWORD, ssl=True, ssl_ca_certs=str(cert)
        )
        with closing(client):
            until(lambda: answers(client))
        yield port, cert
    finally:
        process.kill()
        process.wait()


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def protect(server):
    """Ask every new connection for the password."""
    with server.connect() as client:
        client.config_set("requirepass", PASSWORD)


async def both_add(url):
    """Ids of a job added by either kind of queue."""
    with Queue("mail", redis=url) as queue:
        first = queue.add("a").id
    async with AsyncQueue("mail", redis=url) as queue:
        return [first, (await queue.add("b")).id]


async def test_rediss_with_a_certificate_of_ones_own(tls_server):
    port, cert = tls_server
    url = f"rediss://:{quote(PASSWORD, safe='')}@localhost:{port}/0?ssl_ca_certs={cert}"
    assert await both_add(url) == ["1", "2"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_comes_in_many_records_of_tls_comes_whole(tls_server, run):
    port, cert = tls_server
    pool = open_async_pool(
        f"rediss://:{quote(PASSWORD, safe='')}@localhost:{port}/0?ssl_ca_certs={cert}"
    )

    async def ask():
        wire = SharedWire(pool)
        texts = [f"{n}" * 40_000 for n in range(10)] + [str(n) for n in range(300)]
        replies = await asyncio.gather(*(wire.ask(packed([("ECHO", text)])) for text in texts))
        await wire.close()
        return [reply.decode() for reply in replies] == texts

    assert run(ask())


async def test_rediss_refuses_a_certificate_it_does_not_know(tls_server):
    port, _ = tls_server
    with (
        Queue("mail", redis=f"rediss://:{quote(PASSWORD, safe='')}@localhost:{port}") as queue,
        pytest.raises(RedisUnavailable, match="CERTIFICATE_VERIFY_FAILED") as caught,
    ):
        queue.add("a")
    assert "s3cret" not in str(caught.value)


async def test_unix_with_a_database_and_a_password(private_server):
    server = private_server(append_only=False)
    protect(server)
    url = f"unix://:{quote(PASSWORD, safe='')}@{server.socket_path}?db=3"
    assert await both_add(url) == ["1", "2"]
    client = redis.Redis(unix_socket_path=server.socket_path, password=PASSWORD, db=3)
    with closing(client):
        assert client.llen("bull:mail:wait") == 2


@pytest.mark.parametrize("kind", ["valkey", "redis7"])
async def test_a_wrong_password_is_refused_and_not_shown(private_server, kind):
    server = private_server(kind, append_only=False)
    protect(server)
    url = f"unix://:wr0ng@{server.socket_path}"
    with Queue("mail", redis=url) as queue, pytest.raises(RedisRefused, match="login") as caught:
        queue.add("a")
    assert "wr0ng" not in str(caught.value)
    async with AsyncQueue("mail", redis=url) as queue:
        with pytest.raises(RedisRefused, match="login"):
            await queue.add("a")


async def test_no_password_where_one_is_needed_is_refused(private_server):
    server = private_server(append_only=False)
    protect(server)
    with Queue("mail", redis=server.url) as queue, pytest.raises(RedisRefused, match="login"):
        queue.add("a")


async def test_an_acl_user_needs_only_its_queues_keys(redis_server, redis_client):
    rules = ("~bull:mail:*", "-@all", "+@read", "+@write", "+@scripting", "+time", "-@dangerous")
    redis_client.execute_command("ACL", "SETUSER", "producer", "on", ">pw", *rules)
    try:
        url = f"unix://producer:pw@{redis_server.socket_path}?db=0"
        assert await both_add(url) == ["1", "2"]
        with Queue("mail", redis=url) as queue:
            assert queue.counts()["waiting"] == 2
        with Queue("other", redis=url) as queue:
            with pytest.raises(RedisRefused, match="ACL"):
                queue.add("a")
            with pytest.raises(RedisRefused):
                queue.counts()
    finally:
        redis_client.execute_command("ACL", "DELUSER", "producer")


async def test_tcp(private_server):
    port = free_port()
    private_server(append_only=False, options=("--port", str(port), "--bind", "127.0.0.1"))
    url = f"redis://localhost:{port}/1"
    assert await both_add(url) == ["1", "2"]
    assert server_name(url) == f"redis://localhost:{port}/1"


async def test_a_database_that_is_not_there_is_refused(redis_server):
    url = f"unix://{redis_server.socket_path}?db=99"
    with Queue("mail", redis=url) as queue, pytest.raises(RedisRefused, match="out of range"):
        queue.add("a")
    async with AsyncQueue("mail", redis=url) as queue:
        with pytest.raises(RedisRefused, match="out of range"):
            await queue.add("a")
