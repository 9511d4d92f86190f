"""From a checked table to the settings of one queue; pure.

Each value is made by itself, so that what is wrong with one does not hide what is wrong with
another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toril.checks import refuse
from toril.errors import InvalidInput, InvalidSettings
from toril.runtime.limiter import RateLimit
from toril.sandbox.allow import Allow
from toril.sandbox.limits import Limits
from toril.supervisor.config.kinds import CORES
from toril.supervisor.config.problems import settings_of_fields, value_problems
from toril.supervisor.config.schema import QueueTable
from toril.supervisor.settings import QueueSettings, usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.supervisor.config.kinds import Ends
    from toril.supervisor.config.layers import Merged
    from toril.supervisor.config.schema import RateTable

_LIMITS = frozenset(Limits.__dataclass_fields__)
_ALLOW = frozenset(Allow.__dataclass_fields__)
_APART = ("concurrency", "rate_limit", "sandbox")


def queue_settings(name: str, table: QueueTable, merged: Merged) -> QueueSettings:
    """The settings of a queue.

    Raises:
        InvalidSettings: everything that is wrong, in the words of who wrote it.
    """
    problems: list[str] = []
    given = table.given(*_APART) | _of_sandbox(table)
    limits = _made(lambda: Limits(**_only(given, _LIMITS)), problems)
    allow = _made(lambda: Allow(**_only(given, _ALLOW)), problems)
    own: dict[str, Any] = {
        field: value for field, value in given.items() if field not in _LIMITS | _ALLOW
    }
    if table.rate_limit is not None:
        own["rate_limit"] = _made(lambda: _rate_limit(table.rate_limit), problems)
    own["min_concurrency"], own["concurrency"] = _ends(table.concurrency)
    own["limits"], own["allow"] = limits or Limits(), allow or Allow()
    queue = _made(lambda: QueueSettings(name, **own), problems)
    places = dict(settings_of_fields(QueueTable, ("queues", name)))
    places["min_concurrency"] = places["concurrency"]
    refuse(value_problems(problems, places, merged))
    return queue  # type: ignore[no-any-return]  # without a problem it was made


def problems_of(error: InvalidInput) -> tuple[str, ...]:
    """Everything that a refusal says, each beginning with the name of a field."""
    if isinstance(error, InvalidSettings):
        return error.problems
    return (str(error).removeprefix("rate limit: "),)


def _made(make: Callable[[], Any], problems: list[str]) -> Any:
    try:
        return make()
    except InvalidInput as error:
        problems.extend(problems_of(error))
        return None


def _of_sandbox(table: QueueTable) -> dict[str, Any]:
    sandbox = table.sandbox
    if sandbox is None:
        return {}
    given = sandbox.given("allow")
    if sandbox.allow is not None:
        given |= sandbox.allow.given()
        given["network"] = sandbox.allow.network or ()
    return given


def _only(given: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return {field: value for field, value in given.items() if field in fields}


def _ends(ends: Ends | None) -> tuple[int | None, int]:
    """Least and most children, cores counted."""
    least, most = ends or (None, CORES)
    counted = [usable_cores() if one == CORES else one for one in (least, most)]
    return counted[0], counted[1]  # type: ignore[return-value]  # the words are counted


def _rate_limit(rate: RateTable) -> RateLimit:
    burst = rate.tokens if rate.burst is None else rate.burst
    return RateLimit(rate.tokens, rate.per_ms, burst, rate.revision or 0)
