"""Jobs that a running job adds: what comes out of its child, checked as a caller's would be; pure.

The child is not trusted: names and options are checked here again, and the data, of which nobody
here builds objects, is checked to be JSON.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import msgspec

from toril.errors import InvalidJobData, InvalidOption
from toril.runtime.newjob import AddOptions, NewJob
from toril.runtime.options import BUILT_IN, DEFAULT_TRIM_LIMIT, KEEP_ALL, Backoff, KeepRule
from toril.runtime.preparing import PreparedJob, prepare
from toril.runtime.ties import CHILD_FLAGS, Deduplication
from toril.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIES = ("parent", *CHILD_FLAGS)
"""Options that reach beyond the queue: a child may not become part of any flow."""

OPTIONS = tuple(sorted(AddOptions.__annotations__.keys() - _TIES))
"""Names of the options that a running job may give, those of `Queue.add` that stay in its queue."""

_json = msgspec.json.Decoder(msgspec.Raw)


def prepare_follow_up(name: str, data: bytes, options: Mapping[str, Any]) -> PreparedJob:
    """Check a job completely and put it into its stored form.

    Args:
        name: the job's name.
        data: JSON text.
        options: as `Queue.add` takes them, in JSON's types: durations as text (`"1500ms"`),
            `backoff` as such a text or `{"type", "delay", "jitter"}` with a text for `delay`,
            `remove_on_complete` and `remove_on_fail` as a boolean, a number or
            `{"count", "age", "limit"}` with seconds for `age`, `timestamp` in milliseconds,
            `deduplication` and `telemetry` as objects of the attributes of `Deduplication` and
            `Telemetry`.

    Raises:
        InvalidInput: one of its kinds, for the first fault.
    """
    for option in options:
        if option not in OPTIONS:
            raise InvalidOption(f"job option {option!r} is not known; {_hint(str(option))}")
    given = {option: _value(option, value) for option, value in options.items()}
    return prepare(NewJob(name, **given), data=_checked(data))


def _hint(option: str) -> str:
    close = difflib.get_close_matches(option, OPTIONS, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(OPTIONS)}"


def _value(option: str, value: Any) -> Any:
    """An option as `NewJob` takes it; what is none of these is left to its checks."""
    match option, value:
        case "backoff", {"type": kind, "delay": delay}:
            if value.keys() <= {"type", "delay", "jitter"}:
                return _backoff(kind, delay, value.get("jitter", 0.0))
        case (("remove_on_complete" | "remove_on_fail"), dict()):
            if value.keys() <= {"count", "age", "limit"}:
                return _keep_rule(option, value)
        case "deduplication", {"id": _}:
            if value.keys() <= set(Deduplication.__dataclass_fields__):
                return Deduplication(**value)
        case "telemetry", {"metadata": metadata, "omit_context": omits}:
            return Telemetry(metadata, omit_context=omits)
    return value


def _backoff(kind: Any, delay: Any, jitter: Any) -> Backoff:
    if not isinstance(kind, str) or kind not in BUILT_IN:
        return Backoff.named(kind, delay)
    make = Backoff.fixed if kind == "fixed" else Backoff.exponential
    return make(delay, jitter=jitter)


def _keep_rule(option: str, rule: Mapping[str, Any]) -> KeepRule:
    for name, value in rule.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidOption(
                f"{option}: {name} is {value!r}; expected a whole number of at least 0"
            )
    return KeepRule(
        rule.get("count", KEEP_ALL), rule.get("age"), rule.get("limit") or DEFAULT_TRIM_LIMIT
    )


def _checked(data: bytes) -> bytes:
    try:
        data.decode()
        _json.decode(data)
    except (ValueError, RecursionError) as error:
        raise InvalidJobData(f"job data is not JSON: {error}") from None
    return data
