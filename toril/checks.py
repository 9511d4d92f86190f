"""How a value with several fields refuses all that is wrong with it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toril.errors import InvalidInput, InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def refuse(problems: Iterable[str]) -> None:
    """Raise with everything that is wrong; nothing if nothing is.

    Raises:
        InvalidSettings: there was a problem.
    """
    if told := tuple(problems):
        raise InvalidSettings(told)


def refusals(check: Callable[..., object], *values: Any) -> Iterator[str]:
    """What a check that raises has to say about a value."""
    try:
        check(*values)
    except InvalidInput as error:
        yield str(error)
