"""Where the password of the Redis server comes from: a file, or the service manager; never a flag.

A flag can be read by every user of the host, and a configuration ends in version control. The
environment variable may carry a whole URL: it reaches neither zygotes nor children.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from toril.errors import InvalidOption
from toril.supervisor.service.notify import credential

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIAL = "redis-password"
"""The service manager's credential that is used where no password is given."""


def with_password(url: str, password_file: str | None, environ: Mapping[str, str]) -> str:
    """The URL with the password that was kept elsewhere, if there is one.

    Args:
        url: without a password, or already with one.
        password_file: holds it and nothing else; a line break at its end does not count.
        environ: where the service manager says in which directory its credentials are.

    Raises:
        InvalidOption: the file cannot be read or is empty, or the URL has a password already.
    """
    source = password_path(password_file, environ)
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # It is refused where it is used.
    if source is None or (password_file is None and parts.password is not None):
        return url
    if parts.password is not None:
        raise InvalidOption(
            "redis_password_file is given, and the URL has a password; expected one of them"
        )
    secret = quote(_secret(source), safe="")
    host = parts.netloc.rpartition("@")[2]
    login = f"{quote(parts.username or '', safe='')}:{secret}@"
    return urlunsplit(parts._replace(netloc=login + host))


def password_path(password_file: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file that holds the password; None: there is none."""
    return Path(password_file) if password_file else credential(CREDENTIAL, environ)


def _secret(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidOption(
            f"redis_password_file is {str(path)!r}; expected a file that can be read: {reason}"
        ) from None
    if not text:
        raise InvalidOption(f"redis_password_file is {str(path)!r}; expected a password in it")
    return text
