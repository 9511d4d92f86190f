"""Programs as methods: the same one blocking on `Queue` and `Job`, with `await` on their twins.

A program of the queue takes its base `P:Q:` first, a program of a job the base and the job's id;
what follows are the method's arguments. Name, types, defaults and docstring are the program's.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from toril.runtime.dialog import Program
    from toril.runtime.drivers import AsyncDriver, BlockingDriver

P = ParamSpec("P")
T = TypeVar("T")


class BlockingQueue(Protocol):
    """What a blocking method of a queue needs."""

    @property
    def _base(self) -> str: ...
    @property
    def _driver(self) -> BlockingDriver: ...


class AwaitedQueue(Protocol):
    """What an asyncio method of a queue needs."""

    @property
    def _base(self) -> str: ...
    @property
    def _driver(self) -> AsyncDriver: ...


class BlockingJob(BlockingQueue, Protocol):
    """What a blocking method of a job needs."""

    @property
    def id(self) -> str:
        """The job's id."""


class AwaitedJob(AwaitedQueue, Protocol):
    """What an asyncio method of a job needs."""

    @property
    def id(self) -> str:
        """The job's id."""


def on_queue(
    program: Callable[Concatenate[str, P], Program[T]],
) -> Callable[Concatenate[BlockingQueue, P], T]:
    """The program as a method of `Queue`."""

    def method(self: BlockingQueue, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._driver.run(program(self._base, *args, **kwargs))

    return _dressed(method, program, 1)


def on_async_queue(
    program: Callable[Concatenate[str, P], Program[T]],
) -> Callable[Concatenate[AwaitedQueue, P], Coroutine[Any, Any, T]]:
    """The program as a method of `AsyncQueue`."""

    async def method(self: AwaitedQueue, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._driver.run(program(self._base, *args, **kwargs))

    return _dressed(method, program, 1)


def on_job(
    program: Callable[Concatenate[str, str, P], Program[T]],
) -> Callable[Concatenate[BlockingJob, P], T]:
    """The program as a method of `Job`."""

    def method(self: BlockingJob, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._driver.run(program(self._base, self.id, *args, **kwargs))

    return _dressed(method, program, 2)


def on_async_job(
    program: Callable[Concatenate[str, str, P], Program[T]],
) -> Callable[Concatenate[AwaitedJob, P], Coroutine[Any, Any, T]]:
    """The program as a method of `AsyncJob`."""

    async def method(self: AwaitedJob, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._driver.run(program(self._base, self.id, *args, **kwargs))

    return _dressed(method, program, 2)


M = TypeVar("M", bound="Callable[..., Any]")


def _dressed(method: M, program: Callable[..., Any], given: int) -> M:
    """The method as `help` shows it: the program without what the method gives, its value alone."""
    functools.update_wrapper(method, program)
    signature = inspect.signature(program)
    parameters = list(signature.parameters.values())
    for one in parameters[:given]:
        method.__doc__ = re.sub(rf"\n +{one.name}: .*", "", method.__doc__ or "")
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    value = str(signature.return_annotation).removeprefix("Program[").removesuffix("]")
    vars(method)["__signature__"] = signature.replace(
        parameters=[self, *parameters[given:]], return_annotation=value
    )
    return method
