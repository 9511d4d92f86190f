"""Commands as bytes of Redis' protocol."""

from __future__ import annotations

from toril.runtime.resp import packed


def test_a_command_is_an_array_of_bulk_strings():
    """Text as UTF-8, bytes as they are, numbers in decimal."""
    (data,) = packed([("SET", b"\x00k", "é", 12)])
    assert data == b"*4\r\n$3\r\nSET\r\n$2\r\n\x00k\r\n$2\r\n\xc3\xa9\r\n$2\r\n12\r\n"


def test_bytes_of_foreign_ids_go_back_as_they_came():
    """What was no UTF-8 was read with surrogates in its place."""
    job_id = b"\xff\xfe".decode(errors="surrogateescape")
    (data,) = packed([("GET", job_id, 1)])
    assert data == b"*3\r\n$3\r\nGET\r\n$2\r\n\xff\xfe\r\n$1\r\n1\r\n"


def test_each_command_is_a_piece_of_its_own():
    """A large value is not copied into its neighbours."""
    assert len(packed([("PING",), ("SET", "k", b"x" * 100)])) == 2
