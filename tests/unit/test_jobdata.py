"""What a job's data looks like as text, whichever of the two encoders wrote it."""

from __future__ import annotations

import enum
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.errors import InvalidJobData
from toril.runtime.jobdata import data_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner),
)


class Level(enum.IntEnum):
    LOW = 1


class Names(list):
    def __iter__(self):
        return iter(["other"])


class Table(dict):
    pass


class Name(str):
    __slots__ = ()


def by_json(data):
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@given(DATA)
def test_data_is_written_as_json_writes_it(data):
    assert data_text(data) == (b"{}" if data is None else by_json(data))


@pytest.mark.parametrize(
    "data",
    [
        "".join(map(chr, range(0x3000))),
        [2**63, -(2**64), 10**40],
        {"a": 1e16},
        [0.1, 1e-7, 5e-324, sys.float_info.max],
        [Level.LOW],
        {"level": Level.LOW},
        Names(["a"]),
        {"names": Names(["a"])},
        Table(a=Table()),
        [Name("a")],
        {Name("a"): True},
        ((), [], {}, [[], {"": ()}]),
    ],
)
def test_rare_data_is_written_as_json_writes_it(data):
    assert data_text(data) == by_json(data)


@pytest.mark.parametrize("make", [list, dict])
def test_data_that_holds_itself_is_refused(make):
    data = make()
    inner = [data]
    data.append(inner) if isinstance(data, list) else data.update(a=inner)
    with pytest.raises(InvalidJobData, match="not JSON: Circular reference"):
        data_text(data)


def test_data_that_is_nested_too_deeply_is_refused():
    data: list = []
    for _ in range(100_000):
        data = [data]
    with pytest.raises(InvalidJobData, match="nested too deeply"):
        data_text(data)
