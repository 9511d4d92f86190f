"""Addresses of the health endpoint: what is taken, what is refused, what is exposed."""

from __future__ import annotations

import socket

import pytest

from toril.errors import InvalidOption
from toril.supervisor.service.address import (
    Address,
    inode_of,
    listening_socket,
    name_of,
    parse_address,
    remove_path,
)
from toril.supervisor.settings import QueueSettings, Settings


@pytest.mark.parametrize(
    ("text", "expected", "is_exposed"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464), False),
        ("127.9.9.9:0", Address("127.9.9.9", 0), False),
        ("localhost:1", Address("localhost", 1), False),
        ("[::1]:9464", Address("::1", 9464), False),
        ("0.0.0.0:9464", Address("0.0.0.0", 9464), True),
        ("[::]:9464", Address("::", 9464), True),
        ("worker-1.example.org:80", Address("worker-1.example.org", 80), True),
        ("unix:/run/toril/health.sock", Address(path="/run/toril/health.sock"), False),
    ],
)
def test_addresses_are_read_and_written_the_same(text, expected, is_exposed):
    assert parse_address(text) == expected
    assert str(expected) == text
    assert expected.is_exposed is is_exposed


@pytest.mark.parametrize(
    "text",
    [
        *("", ":9464", "9464", "127.0.0.1", "127.0.0.1:", "h:65536", "h:-1", "::1:80"),
        *("http://h:1", "h h:1", "127.0.0.1:1\n", "[h]:1"),
        *("unix:", "unix:relative", "unix:/" + "x" * 107),
    ],
)
def test_others_are_refused_and_a_host_has_to_be_written(text):
    with pytest.raises(InvalidOption, match=r"health_listen is .*; expected"):
        parse_address(text)


def test_settings_refuse_an_address_that_cannot_be():
    queue = QueueSettings("q", "m:a")
    with pytest.raises(InvalidOption, match="health_listen is ':1'"):
        Settings("redis://localhost", (queue,), health_listen=":1")


def test_a_taken_port_is_refused_and_says_so():
    with listening_socket(Address("127.0.0.1", 0)) as first:
        name = name_of(first, Address("127.0.0.1", 0))
        with pytest.raises(InvalidOption, match="cannot be listened on: Address already in use"):
            listening_socket(parse_address(name))


def test_a_socket_is_the_owners_alone_and_taken_over_only_from_the_dead(tmp_path):
    address = Address(path=str(tmp_path / "s"))
    with listening_socket(address):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        with pytest.raises(InvalidOption, match="already in use"):
            listening_socket(address)
    with listening_socket(address) as second:
        assert second.getsockname() == address.path
        inode = inode_of(address)
    remove_path(address, inode)
    assert not (tmp_path / "s").exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(InvalidOption, match="already in use"):
        listening_socket(Address(path=str(tmp_path / "s")))
    assert (tmp_path / "s").read_text() == "precious"


def test_the_socket_of_a_successor_stays(tmp_path):
    address = Address(path=str(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(address.path)
        remove_path(address, inode_of(address) + 1)
        assert (tmp_path / "s").exists()
