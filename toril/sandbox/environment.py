"""The environment of zygote and children, built from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMES = frozenset(
    {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"},
)
_SHELL_NAMES = frozenset({"_", "EDITOR", "HISTFILE", "LOGNAME", "LS_COLORS", "MAIL", "OLDPWD"})
_SHELL_NAMES |= {"PAGER", "PS1", "PWD", "SHELL", "SHLVL", "TERM", "USER"}
_PREFIXES = ("LC_", "SSL_CERT_")
_REFUSED_PREFIXES = ("TORIL_", "REDIS_")
_MANAGER_PREFIXES = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "CREDENTIALS_DIRECTORY")
_THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def build(
    source: Mapping[str, str], env_names: Sequence[str] = (), threads: int = 1
) -> dict[str, str]:
    """What a zygote is started with.

    Args:
        source: the supervisor's own environment.
        env_names: further variables the queue's `env` setting lets through.
        threads: how many threads numeric libraries may start in a child.

    Raises:
        InvalidOption: a name in `env_names` could carry a Redis URL or credential.
    """
    check_names(env_names)
    kept = {
        name: value
        for name, value in source.items()
        if name in _NAMES or name.startswith(_PREFIXES) or name in env_names
    }
    return {name: str(threads) for name in _THREAD_VARIABLES} | kept


def has_hidden(source: Mapping[str, str], env: Mapping[str, str]) -> bool:
    """Whether `build` kept something from `env` that is not every shell's.

    Args:
        source: what it was given.
        env: what it returned.
    """
    return bool(source.keys() - env.keys() - _SHELL_NAMES)


def check_names(env_names: Sequence[str]) -> None:
    """Refuse to let through what may hold the Redis URL, or speaks for the supervisor.

    Raises:
        InvalidOption: a name begins with `TORIL_` or `REDIS_`, or is one of systemd's.
    """
    for name in env_names:
        if name.startswith(_MANAGER_PREFIXES):
            raise InvalidOption(
                f"env names {name!r}; the service manager's variables never reach a child: with "
                "them it could speak for the supervisor. Hand the value on under another name"
            )
        if name.startswith(_REFUSED_PREFIXES):
            raise InvalidOption(
                f"env names {name!r}; variables beginning with TORIL_ or REDIS_ never reach a "
                "child, because they may hold the Redis URL. Hand the value on under another name"
            )
