"""How many jobs a second does one `add_bulk` of 100,000 add?

Against `addBulk` of BullMQ for Node: all in one call, as its documentation has it, and in calls of
1,000, which it likes better. The time covers making the jobs and getting what stands for them.
"""

from __future__ import annotations

from benchmarks.adding import PRODUCERS, rate, toril
from benchmarks.contestants import is_there
from benchmarks.harness import Side, compare, options, server
from benchmarks.machine import PEERS


def main() -> None:
    given = options(__doc__)
    jobs = 1000 if given.smoke else 100_000
    node = ["node", str(PRODUCERS / "bullmq_bulk.cjs")]
    with server() as url:
        sides = [Side("toril add_bulk", lambda: rate(toril("bulk"), url, jobs))]
        if is_there(PEERS / "node_modules" / "bullmq", given):
            sides += [
                Side("BullMQ addBulk, 1,000 a call", lambda: _in_calls(node, url, jobs)),
                Side("BullMQ addBulk", lambda: rate(node, url, jobs)),
            ]
        compare(f"{jobs} jobs added in bulk", "jobs/s", sides, given)


def _in_calls(node: list[str], url: str, jobs: int) -> float:
    return rate(["env", "PER_CALL=1000", *node], url, jobs)


if __name__ == "__main__":
    main()
