"""From a path to the function that runs a job, and what is said when there is none."""

from __future__ import annotations

import functools
import os
import sys
import types

import pytest

from toril.errors import ProcessorImportError
from toril.sandbox.processor import Processor, UnknownJobName, missing_variable, resolve


def process(job):
    return job


async def process_async(job):
    return job


processors = {"resize": process, "crop": process}
empty: dict[str, object] = {}
half = {"resize": process, "crop": "process"}
mixed = {"resize": process_async, "crop": process}


def nothing_to_do_with():
    pass


def two_parameters(job, other):
    return job, other


def stream(job):
    yield job


async def stream_async(job):
    yield job


@functools.wraps(two_parameters)
def decorated(*arguments):
    return two_parameters(*arguments, "other")


class Callable:
    def __call__(self, job, retries=0):
        return job, retries


half_useless = {"resize": nothing_to_do_with}
instance = Callable()
builtin = len
not_a_function = 5


def test_function_takes_every_job_name():
    assert resolve(f"{__name__}:process").find("anything") is process


@pytest.mark.parametrize("name", ["process_async", "mixed", "decorated", "instance", "builtin"])
def test_whatever_can_be_called_with_the_job_is_a_processor(name):
    """In doubt it is let through: what a decorator wraps, and what C code takes."""
    assert resolve(f"{__name__}:{name}")


@pytest.mark.parametrize(("name", "has_some"), [("process", False), ("mixed", True)])
def test_coroutines_are_known_before_they_are_called(name, has_some):
    assert resolve(f"{__name__}:{name}").has_coroutines is has_some


def hooked(name, **hooks):
    module = types.ModuleType(name)
    vars(module).update(process=process, **hooks)
    sys.modules[name] = module
    try:
        return resolve(f"{name}:process")
    finally:
        del sys.modules[name]


def test_hooks_are_found_beside_the_processor():
    found = hooked("with_hooks", setup=lambda: 1, teardown=lambda: 2)

    assert (found.setup(), found.teardown()) == (1, 2)
    assert hooked("without_hooks").setup is None


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (5, "setup of module 'wrong_hook' is of type int"),
        (process, "setup of module 'wrong_hook' has parameters"),
        (process_async, "setup of module 'wrong_hook' is an async function"),
    ],
)
def test_hook_that_cannot_be_called_is_refused(hook, says):
    with pytest.raises(ProcessorImportError, match=says):
        hooked("wrong_hook", setup=hook)


def test_mapping_takes_its_job_names():
    assert resolve(f"{__name__}:processors").find("crop") is process


def test_unknown_job_name_is_told_with_the_nearest_and_all():
    with pytest.raises(UnknownJobName) as caught:
        Processor(processors).find("resise")

    assert str(caught.value) == (
        "no processor for job name 'resise' (did you mean 'resize'?); "
        "this queue's processor has 'crop', 'resize'"
    )


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nonsense", "is not of the form module:attribute"),
        (":process", "is not of the form module:attribute"),
        (f"{__name__}:", "is not of the form module:attribute"),
        (f"{__name__}:proces", "has no attribute 'proces' (did you mean 'process'?)"),
        (f"{__name__}:empty", "is an empty mapping"),
        (f"{__name__}:half", "['crop']' is of type str"),
        (f"{__name__}:not_a_function", "is of type int"),
        (f"{__name__}:nothing_to_do_with", "cannot be called with one argument, the job"),
        (f"{__name__}:two_parameters", "cannot be called with one argument, the job"),
        (f"{__name__}:half_useless", "['resize']' cannot be called with one argument"),
        (f"{__name__}:stream", "is a generator"),
        (f"{__name__}:stream_async", "is a generator"),
    ],
)
def test_what_is_not_a_processor_is_refused(path, says):
    with pytest.raises(ProcessorImportError) as caught:
        resolve(path)

    assert says in str(caught.value).replace('"', "'")


def test_only_a_missing_environment_variable_is_taken_for_one():
    def error_of(action):
        try:
            action()
        except KeyError as error:
            return error

    assert missing_variable(error_of(lambda: os.environ["TORIL_ABSENT"])) == "TORIL_ABSENT"
    assert missing_variable(error_of(lambda: {}["TORIL_ABSENT"])) is None
    assert missing_variable(ValueError("x")) is None
