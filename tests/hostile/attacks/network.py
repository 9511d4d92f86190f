"""Attacks on the network and on sockets in the file system: nobody may be reached."""

from __future__ import annotations

import os
import socket
import struct
from functools import partial

from tests.hostile.attacks.steps import all_met, attack, met, syscall

AF_SMC, AF_XDP, AF_TIPC, AF_ALG, AF_KEY, AF_BLUETOOTH, AF_CAN = 43, 44, 30, 38, 15, 31, 29


@attack
def reach_redis_by_tcp(job):
    """A connection to the loopback, by each call that makes one (row 10)."""
    address = ("127.0.0.1", job.data["tcp"])

    def connect():
        with socket.socket() as made:
            made.settimeout(1)
            made.connect(address)
            made.send(b"FLUSHALL\r\n")

    def fast_open():
        with socket.socket() as made:
            made.settimeout(1)
            made.sendto(b"FLUSHALL\r\n", 0x20000000, address)

    def multipath():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as made:
            made.connect(address)

    def listen():
        with socket.socket() as made:
            made.bind(("127.0.0.1", 0))
            made.listen()

    return all_met(
        {
            "connect": connect,
            "create_connection": lambda: socket.create_connection(address, 1),
            "ipv6": lambda: socket.create_connection(("::ffff:127.0.0.1", address[1]), 1),
            "fast open": fast_open,
            "multipath": multipath,
            "listen": listen,
        }
    )


@attack
def use_other_families(job):
    """Everything that is a socket and not a file (row 11)."""

    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.sendto(b"hostile", ("127.0.0.1", job.data["udp"]))

    def vsock():
        with socket.socket(40, socket.SOCK_STREAM) as made:
            made.settimeout(0.1)
            made.connect((2, 1))

    families = {"netlink": 16, "packet": 17, "smc": AF_SMC, "xdp": AF_XDP, "tipc": AF_TIPC}
    families |= {
        "alg": AF_ALG,
        "key": AF_KEY,
        "bluetooth": AF_BLUETOOTH,
        "can": AF_CAN,
        "inet6": 10,
    }
    steps = {name: partial(syscall, 41, number, 2, 0) for name, number in families.items()}
    steps |= {
        f"{name} raw": partial(syscall, 41, number, 3, 0) for name, number in families.items()
    }
    return all_met(steps | {"udp": udp, "vsock": vsock, "name look-up": look_up})


def look_up():
    """A name service is reached by UDP or by a socket in the file system."""
    return socket.getaddrinfo("name.that.is.not.local.example", 80)


@attack
def reach_redis_by_path(job):
    """A socket in the file system or with an abstract name, streams and datagrams (row 12)."""

    def connect(address, kind=socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as made:
            made.connect(address)
            made.send(b"FLUSHALL\r\n")

    def send_to(address):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.sendto(b"hostile", address)

    def bind(address):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(address)
            made.listen()

    path, abstract = job.data["unix"], "\0" + job.data["abstract"]
    datagram, abstract_datagram = job.data["datagram"], "\0" + job.data["abstract_datagram"]
    return all_met(
        {
            "path": partial(connect, path),
            "abstract": partial(connect, abstract),
            "datagram": partial(connect, datagram, socket.SOCK_DGRAM),
            "datagram by address": partial(send_to, datagram),
            "abstract datagram": partial(connect, abstract_datagram, socket.SOCK_DGRAM),
            "abstract datagram by address": partial(send_to, abstract_datagram),
            "bind": partial(bind, "mine.sock"),
            "bind abstract": partial(bind, "\0hostile"),
        }
    )


def send_datagrams_from_a_pair(job):
    """A socketpair needs no connection, and one of datagrams can be sent from to any address."""
    near, _far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return all_met(
        {
            "sendto": lambda: near.sendto(b"hostile", job.data["datagram"]),
            "sendmsg": lambda: near.sendmsg([b"hostile"], [], 0, job.data["datagram"]),
            "connect": lambda: near.connect(job.data["datagram"]),
            "abstract": lambda: near.sendto(b"x", "\0" + job.data["abstract_datagram"]),
        }
    )


@attack
def make_a_datagram_pair(job):
    """The pair itself may be refused; if it is not, it must reach nobody."""
    pair = met(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    return send_datagrams_from_a_pair(job) if pair == "done" else {"socketpair": pair}


@attack
def turn_its_own_socket_round(job):
    """The data socket, connected elsewhere."""

    def connect(fd):
        family = struct.pack("<H", socket.AF_UNIX)
        address = family + job.data["unix"].encode() + b"\0"
        syscall(42, fd, address, len(address))

    def accept(fd):
        syscall(288, fd, 0, 0, 0)

    fd = os.dup(3)
    return all_met(
        {
            "connect": partial(connect, fd),
            "accept": partial(accept, fd),
            "bind": lambda: syscall(49, fd, struct.pack("<H", socket.AF_UNIX) + b"mine\0", 7),
            "listen": lambda: syscall(50, fd, 1),
        }
    )
