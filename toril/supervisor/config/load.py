"""From file, environment and flags to one checked value, or to everything that is wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from toril.checks import refusals, refuse
from toril.errors import InvalidInput, InvalidOption
from toril.log_settings import LogSettings
from toril.runtime.connection import has_login
from toril.runtime.embedded import url_of
from toril.runtime.keys import DEFAULT_PREFIX, check_prefix
from toril.supervisor.config.building import problems_of, queue_settings
from toril.supervisor.config.environment import environment_layer
from toril.supervisor.config.layers import Layer, Merged, merge
from toril.supervisor.config.problems import (
    schema_problems,
    settings_of_fields,
    value_problems,
    without_problems,
)
from toril.supervisor.config.schema import ConfigTable, LogTable
from toril.supervisor.config.secrets import password_path, with_password
from toril.supervisor.config.toml_file import PYPROJECT, read_toml
from toril.supervisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FILE = "toril.toml"

NO_FLAGS = Layer({}, ".".join)
_QUEUES = "queues"
_URL_VARIABLE = "TORIL_REDIS_URL"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from.

    Attributes:
        flags: what the command line says.
        environ: the environment.
        path: the file; None: none.
        only: the queues that are wanted; none: all that are configured.
    """

    flags: Layer = NO_FLAGS
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    path: Path | None = None
    only: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration.

    Attributes:
        settings: what the supervisor is told.
        merged: the settings as they were written, and where.
        path: the file; None: there is none.
    """

    settings: Settings
    merged: Merged
    path: Path | None


@dataclass(frozen=True, slots=True)
class Server:
    """Where queues are."""

    url: str
    prefix: str


def find_file(directory: Path) -> Path | None:
    """The configuration that stands in a directory: toril.toml, or pyproject.toml with a part."""
    if (own := directory / FILE).is_file():
        return own
    shared = directory / PYPROJECT
    return shared if shared.is_file() and read_toml(shared).values else None


def load(sources: Sources) -> Loaded:
    """The configuration that these sources mean; an embedded server that it names is started.

    Raises:
        InvalidSettings: with everything that is wrong; nothing was started.
        InvalidOption: the file is missing or no TOML.
    """
    merged = read(sources)
    problems: list[str] = []
    table = _checked(merged, problems)
    queues = []
    hidden = tuple(str(path.absolute()) for path in _own_files(sources, table))
    for name, part in table.queues.items():
        try:
            queues.append(replace(queue_settings(name, part, merged), hidden=hidden))
        except InvalidInput as error:
            problems.extend(problems_of(error))
    try:
        url = _server_url(table, merged, sources.environ)
    except InvalidInput as error:
        problems.extend(problems_of(error))
    log = _log_settings(table, merged, problems)
    if not table.queues:
        problems.append(
            "no queue is named; expected --queue and --processor, or [queues.NAME] in a file"
        )
    refuse(problems)
    top = table.given("redis", "redis_password_file", "health", "log", _QUEUES)
    if table.health is not None:
        top |= table.health.given()
    try:
        settings = Settings(redis=url_of(url), queues=tuple(queues), log=log, **top)
    except InvalidInput as error:
        places = dict(settings_of_fields(ConfigTable))
        refuse(value_problems(problems_of(error), places, merged))
        raise
    return Loaded(settings, merged, sources.path)


def load_server(sources: Sources) -> Server:
    """Where the queues are that these sources mean; what they say of queues is not looked at.

    Raises:
        InvalidSettings: what was said of the server is wrong.
        InvalidOption: the file is missing or no TOML.
    """
    merged = read(sources)
    values = {name: value for name, value in merged.values.items() if name != _QUEUES}
    problems: list[str] = []
    table = _checked(Merged(values, merged.layers), problems)
    prefix = DEFAULT_PREFIX if table.prefix is None else table.prefix
    problems += value_problems(refusals(check_prefix, prefix), {"prefix": ("prefix",)}, merged)
    refuse(problems)
    return Server(url_of(_server_url(table, merged, sources.environ)), prefix)


def read(sources: Sources) -> Merged:
    """What the sources say, unchecked.

    Raises:
        InvalidOption: the file is missing or no TOML.
    """
    layers = []
    if sources.path is not None:
        file = read_toml(sources.path)
        layers.append(Layer(file.values, file.where, is_named=False))
    named = {*sources.only, *_queue_names([*layers, sources.flags])}
    layers.append(environment_layer(sources.environ, named))
    layers.append(sources.flags)
    merged = merge(layers)
    if not sources.only:
        return merged
    configured = merged.values.get(_QUEUES, {})
    wanted = {name: configured.get(name, {}) for name in sources.only}
    return Merged({**merged.values, _QUEUES: wanted}, layers)


def _queue_names(layers: Sequence[Layer]) -> Iterator[str]:
    for layer in layers:
        queues = layer.values.get(_QUEUES)
        if isinstance(queues, dict):
            yield from queues


def _checked(merged: Merged, problems: list[str]) -> ConfigTable:
    """What the schema accepts; what it does not goes to `problems`."""
    while True:
        try:
            return ConfigTable.model_validate(merged.values)
        except ValidationError as error:
            problems += schema_problems(error, merged, ConfigTable)
            merged = without_problems(error, merged)


def _own_files(sources: Sources, table: ConfigTable) -> Iterator[Path]:
    """What only the supervisor reads."""
    if sources.path is not None:
        yield sources.path
    if password := password_path(table.redis_password_file, sources.environ):
        yield password


def _log_settings(table: ConfigTable, merged: Merged, problems: list[str]) -> LogSettings:
    """What the log is told; what it refuses goes to `problems`."""
    try:
        return LogSettings(**({} if table.log is None else table.log.given()))
    except InvalidInput as error:
        places = dict(settings_of_fields(LogTable, ("log",)))
        problems += value_problems(problems_of(error), places, merged)
        return LogSettings()


def _server_url(table: ConfigTable, merged: Merged, environ: Mapping[str, str]) -> str:
    if not table.redis:
        raise InvalidOption(
            "no server is named; expected --redis URL, TORIL_REDIS_URL or redis in a "
            "configuration, such as redis://localhost:6379/0, or `--redis embedded` for a private "
            "one to try things out"
        )
    if has_login(table.redis) and merged.origin(("redis",)) != _URL_VARIABLE:
        raise InvalidOption(
            f"{merged.subject(('redis',))} carries a user or a password, and others may read it; "
            "put the URL into the environment variable TORIL_REDIS_URL, or the password alone into "
            "a file that redis_password_file names"
        )
    return with_password(table.redis, table.redis_password_file, environ)
