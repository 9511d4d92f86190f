"""Names that would break or collide are refused, with the way out in the message."""

from __future__ import annotations

import pytest

from toril.errors import InvalidJobId, InvalidOption, InvalidQueueName
from toril.runtime.keys import RESERVED_IDS, check_job_id, check_queue_name, client_name, key_base


def test_key_base_is_prefix_and_queue_with_colons():
    assert key_base("bull", "mail") == "bull:mail:"
    assert key_base("{a}:b", "mail") == "{a}:b:mail:"


def test_queue_name_with_colon_is_refused_and_a_name_suggested():
    with pytest.raises(InvalidQueueName, match="use 'image-optimize'"):
        check_queue_name("image:optimize")


@pytest.mark.parametrize("name", ["", "   ", None, 7, "\ud800"])
def test_queue_name_has_to_be_text(name):
    with pytest.raises(InvalidQueueName):
        check_queue_name(name)


@pytest.mark.parametrize("prefix", ["", None, 7])
def test_prefix_has_to_be_text(prefix):
    with pytest.raises(InvalidOption, match="prefix"):
        key_base(prefix, "mail")


@pytest.mark.parametrize("job_id", ["0", "12", "-3", "9007199254740993"])
def test_integer_ids_are_refused(job_id):
    with pytest.raises(InvalidJobId, match="integer"):
        check_job_id(job_id)


@pytest.mark.parametrize("job_id", ["0:x", "a:b", "repeat:x:1", "toril:limit"])
def test_ids_with_colon_are_refused(job_id):
    with pytest.raises(InvalidJobId, match="':'"):
        check_job_id(job_id)


@pytest.mark.parametrize("job_id", sorted(RESERVED_IDS))
def test_ids_that_are_keys_of_the_queue_are_refused(job_id):
    with pytest.raises(InvalidJobId, match="own keys"):
        check_job_id(job_id)


@pytest.mark.parametrize("job_id", ["", None, 12, b"x", "\udfff", "ä" * 2049])
def test_id_has_to_be_text(job_id):
    with pytest.raises(InvalidJobId):
        check_job_id(job_id)


@pytest.mark.parametrize("job_id", ["invoice-7", "007", "1.5", "+1", "Wait", "ä b", "1e3"])
def test_other_ids_pass(job_id):
    assert check_job_id(job_id) == job_id


def test_client_name_carries_the_queue_in_base64():
    assert client_name("bull", "mail") == "bull:bWFpbA=="
    assert client_name("bull", "mail", "host-1") == "bull:bWFpbA==:w:host-1"
