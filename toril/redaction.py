"""What must not stand in a log: the values of named secrets, and logins in URLs.

A change must keep: the time is linear in the text, whatever it holds. Names are plain words, not
patterns, and every run of characters below ends where it cannot go on, without a second try.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MASK = "***"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,63}")
"""What a name may be; the length is chosen."""

_URL_LOGIN = re.compile(r"://[^\s/?#\"<>]{1,1000}@")

_VALUE = r"""
    (?P<between> \\{0,3} ["']? \s{0,8} [:=] \s{0,8} )
    (?: (?P<escaped> \\{1,3} ["'] ) (?: \\[^"'] | [^"'\\] )*
      | (?P<double> ") (?: \\. | [^"\\] )*
      | (?P<single> ') (?: \\. | [^'\\] )*
      | (?: (?: bearer | basic | token ) \s{1,8} )? [^\s"',;&)}\]]+ )
"""
"""What may follow a name: `=x`, `: x`, `": "x"`, `\\": \\"x\\"`, `: Bearer x`."""


def redactor(names: Sequence[str]) -> Callable[[str], str]:
    """A function that masks the values of these names in a text, and logins in its URLs.

    Args:
        names: whole words, or their last parts: `token` stands for `access_token` and
            `ACCESS-TOKEN` too, not for `tokens`. As in `NAME`.
    """
    lowered = tuple(name.lower() for name in names)
    pattern = _named(lowered)

    def redacted(text: str) -> str:
        if "://" in text and "@" in text:
            text = _URL_LOGIN.sub(f"://{MASK}@", text)
        if (":" in text or "=" in text) and pattern is not None:
            small = text.lower()
            if any(name in small for name in lowered):
                text = pattern.sub(_masked, text)
        return text

    return redacted


def _named(names: Sequence[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(
        rf"(?<![a-z0-9])(?P<name>{words})(?![a-z0-9_]){_VALUE}", re.IGNORECASE | re.VERBOSE
    )


def _masked(found: re.Match[str]) -> str:
    opened = found["escaped"] or found["double"] or found["single"] or ""
    return f"{found['name']}{found['between']}{opened}{MASK}"
