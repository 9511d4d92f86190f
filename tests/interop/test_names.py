"""`docs/bullmq.md` says of every method of BullMQ what it is here, or that it is missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.interop.node import NodeDriver

PAGE = Path(__file__).parents[2] / "docs" / "bullmq.md"

INTERNAL = {
    "Queue": """Job addJob base64Name baseGetClients clientName commandByType constructor
        createBackend defaultJobOptions getBackend jobScheduler metaValues parseClientList
        sanitizeJobTypes trace""",
    "Job": """addJob constructor createBackend getSpanOperation prefix queueName recordJobMetrics
        setSpanJobAttributes shouldRetryJob toFlowEntry validateOptions""",
    "Worker": """Job _getNextJob base64Name callProcessJob clientName constructor createBackend
        createJob createLockManager createSandbox emit getBackend getBlockTimeout getRateLimitDelay
        getUnrecoverableErrorMessage handleCompleted handleFailed jobScheduler mainLoop
        maximumBlockTimeout minimumBlockTimeout moveLimitedBackToWait moveStalledJobsToWait
        moveToActive nextJobFromJobData retryIfFailed stalledChecker trace updateDelays waitForJob
        waitForRateLimit""",
    "QueueEvents": """Job base64Name clientName constructor consumeEvents createBackend emit
        getBackend trace""",
    "QueueEventsProducer": """Job base64Name clientName constructor createBackend emit getBackend
        trace""",
    "FlowProducer": """Job addChildren addNode addNodes collectFlowEntry constructor emit getBackend
        getChildren getNode queueFromNode toFlowError validateFlowJobs""",
    "JobScheduler": """Job base64Name clientName constructor createBackend emit getBackend
        getNextJobOpts getSchedulerData getSchedulerNextJobId getTemplateFromJSON isJobScheduler
        trace transformSchedulerData""",
}
"""What the classes have beside the methods that BullMQ's manual is about."""


@pytest.mark.parametrize("kind", INTERNAL)
def test_every_method_stands_on_the_page(kind: str, node: NodeDriver):
    methods = set(node.call("methodNames", kind=kind))

    assert methods
    assert methods - set(INTERNAL[kind].split()) - named() == set()


def test_every_field_of_a_job_stands_on_the_page(node: NodeDriver):
    fields = set(node.call("jobFields", queue="names"))

    assert {"returnvalue", "attemptsMade"} < fields
    assert fields - {"backend", "queue"} - named() == set()


def named() -> set[str]:
    """Every word of the page."""
    return set(re.findall(r"\w+", PAGE.read_text(encoding="utf-8")))
