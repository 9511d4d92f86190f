"""The Node driver itself, on jobs that never leave Node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import BOTH_MAJORS
from tests.interop.node import NodeError

if TYPE_CHECKING:
    from tests.interop.node import NodeDriver


@BOTH_MAJORS
def test_node_runs_what_node_added(node: NodeDriver, queue_name: str):
    node.call("startWorker", queue=queue_name)
    job_id = node.call("add", queue=queue_name, name="echo", data={"n": 1})

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == {"n": 1}
    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["state"], job["returnvalue"], job["attemptsMade"]) == ("completed", {"n": 1}, 1)


def test_an_error_in_node_is_raised_here(node: NodeDriver, queue_name: str):
    with pytest.raises(NodeError, match="Custom Id cannot be integers"):
        node.call("add", queue=queue_name, name="echo", data={}, opts={"jobId": "12"})
