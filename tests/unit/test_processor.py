"""From a path to the function that runs a job, and what is said when there is none."""

from __future__ import annotations

import os

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
half_async = {"resize": process_async}
not_a_function = 5


def test_function_takes_every_job_name():
    assert resolve(f"{__name__}:process").find("anything") is process


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
        (f"{__name__}:process_async", "is async"),
        (f"{__name__}:half_async", "['resize']' is async"),
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
