"""Secrets are masked in what others say, in time that grows with the text and no faster."""

from __future__ import annotations

import time

import pytest

from toril.errors import InvalidSettings
from toril.log_settings import SECRETS, LogSettings
from toril.redaction import redactor

redacted = redactor(SECRETS)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password=hunter2 and more", "password=*** and more"),
        ("DB_PASSWORD = hunter2, host=x", "DB_PASSWORD = ***, host=x"),
        ("{'token': 'abc def', 'n': 1}", "{'token': '***', 'n': 1}"),
        ('{"access_token":"a\\"b c","n":1}', '{"access_token":"***","n":1}'),
        ('"{\\"secret\\": \\"abc def\\", \\"n\\": 1}"', '"{\\"secret\\": \\"***\\", \\"n\\": 1}"'),
        ("Authorization: Bearer abc.def-1", "Authorization: ***"),
        ("authorization: Basic YTpi x", "authorization: *** x"),
        ("GET /a?api_key=abc&n=1", "GET /a?api_key=***&n=1"),
        ("api-key: abc", "api-key: ***"),
        ("password: 'it is' 'open", "password: '***' 'open"),
        ('password="open ended', 'password="***'),
        ("redis://user:p@ss@host:6379/0", "redis://***@host:6379/0"),
        ("https://ghp_abc@github.com/x", "https://***@github.com/x"),
    ],
)
def test_secrets_are_masked(text: str, left: str):
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 512",
        "max_tokens=512",
        "KeyError: 'token'",
        "the password is wrong",
        "password",
        "http://host/path?mail=a@b.c",
        "see http://host and write to a@b.c",
        "secrets=1",
    ],
)
def test_the_rest_stays(text: str):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "password=",
        'password="',
        "password='\\",
        '"password\\":\\"',
        "password        ",
        "password\\\\\\",
        "token: bearer ",
        "api_key:'\\\"",
        "://",
        "://a",
        "=://@",
    ],
)
def test_hostile_text_takes_linear_time(part: str):
    """A quadratic search of a text this long would take minutes."""
    text = part * (2**20 // len(part)) + "@"

    began = time.process_time()
    redacted(text)

    assert time.process_time() - began < 5


def test_names_are_words_of_the_settings():
    mask = redactor(["pin.code"])
    assert mask("PIN.code=1234 pinxcode=1 password=x") == "PIN.code=*** pinxcode=1 password=x"
    assert redactor([])("password=x redis://a:b@c") == "password=x redis://***@c"


@pytest.mark.parametrize("name", ["", "a", "pass word", "(a+)+$", "x" * 65, "-a"])
def test_a_name_that_is_no_word_is_refused(name: str):
    with pytest.raises(InvalidSettings, match="redact names"):
        LogSettings(redact=(name,))


@pytest.mark.parametrize("wrong", [{"level": "loud"}, {"format": "xml"}])
def test_a_level_or_format_that_there_is_not_is_refused(wrong):
    with pytest.raises(InvalidSettings, match="expected one of"):
        LogSettings(**wrong)
