"""Commands become the bytes that Redis reads: lengths in bytes, one command after the other."""

from __future__ import annotations

from toril.runtime.resp import packed, pieces


def test_arguments_of_every_type_are_bulk_strings():
    assert packed([("SET", b"k\r\n", 12)]) == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$2\r\n12\r\n"


def test_lengths_count_bytes_not_characters():
    assert packed([("GET", "ü")]) == b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xbc\r\n"


def test_commands_follow_each_other():
    assert packed([("A",), ("B", "")]) == b"*1\r\n$1\r\nA\r\n*2\r\n$1\r\nB\r\n$0\r\n\r\n"
    assert packed([]) == b""


def test_ids_of_foreign_bytes_go_back_as_they_came():
    job_id = b"\xff\x00id".decode("utf-8", "surrogateescape")
    assert packed([("GET", job_id, 1)]) == b"*3\r\n$3\r\nGET\r\n$4\r\n\xff\x00id\r\n$1\r\n1\r\n"


def test_pieces_are_the_commands_one_by_one():
    commands = [("A",), ("SET", "k", b"x" * 10)]
    assert b"".join(pieces(commands)) == packed(commands)
    assert len(pieces(commands)) == len(commands)
