"""A job's correlation id: given, or its trace's, or made of queue and id."""

from __future__ import annotations

import json

import pytest

from toril.correlation import MAX_CHARS, of_job, of_producer
from toril.errors import InvalidOption
from toril.runtime.newjob import NewJob
from toril.runtime.options import parse_opts
from toril.runtime.preparing import prepare

TRACE = "0af7651916cd43dd8448eb211c80319c"
CARRIER = json.dumps({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": ""})


@pytest.mark.parametrize(
    ("given", "metadata", "omits", "expected"),
    [
        ("order-7", CARRIER, None, "order-7"),
        (None, CARRIER, None, TRACE),
        (None, CARRIER, True, ""),
        ("", CARRIER, False, TRACE),
        ("x" * (MAX_CHARS + 1), None, None, ""),
        (7, None, None, ""),
        ({"a": 1}, ["b"], None, ""),
        (None, "no carrier", None, ""),
        (None, '{"traceparent": "00-xyz-1-01"}', None, ""),
        (None, None, None, ""),
    ],
)
def test_what_a_producer_stored(given, metadata, omits, expected):
    assert of_producer(given, metadata, omits) == expected
    stored = {"correlationId": given, "tm": metadata, "omc": omits}
    assert parse_opts(json.dumps(stored).encode()).correlation_id == expected


def test_one_is_made_where_there_is_none():
    assert of_job("images", "7") == "images:7"
    assert of_job("images", "7", "order-7") == "order-7"


def test_what_is_made_can_be_handed_on_however_long_the_id_is():
    made = of_job("images", "7" * 4096)
    assert prepare(NewJob("n", correlation_id=made)).options.text


def test_it_is_stored_under_the_name_that_workers_read():
    opts = prepare(NewJob("n", correlation_id="order-7")).options.text
    assert json.loads(opts) == {"attempts": 0, "correlationId": "order-7"}
    assert parse_opts(opts).correlation_id == "order-7"


@pytest.mark.parametrize("wrong", ["", "x" * (MAX_CHARS + 1), 7, "\ud800"])
def test_what_cannot_be_one_is_refused(wrong):
    with pytest.raises(InvalidOption, match="correlation_id is"):
        prepare(NewJob("n", correlation_id=wrong))
