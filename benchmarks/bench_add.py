"""How many jobs a second does one caller add, one after the other?

`Queue.add` and `await AsyncQueue.add` against `await queue.add` of the `bullmq` package for Python,
which has no blocking one.
"""

from __future__ import annotations

from benchmarks.adding import PRODUCERS, rate, toril
from benchmarks.contestants import is_there
from benchmarks.harness import Side, compare, options, server
from benchmarks.machine import PEERS_PYTHON


def main() -> None:
    given = options(__doc__)
    jobs = 200 if given.smoke else 10_000
    with server() as url:
        sides = [
            Side("toril Queue.add", lambda: rate(toril("blocking"), url, jobs)),
            Side("toril AsyncQueue.add", lambda: rate(toril("asyncio"), url, jobs)),
        ]
        if is_there(PEERS_PYTHON, given):
            peer = [str(PEERS_PYTHON), str(PRODUCERS / "bullmq_python.py")]
            sides.append(Side("bullmq (Python) queue.add", lambda: rate(peer, url, jobs)))
        compare(f"{jobs} jobs added one by one", "jobs/s", sides, given)


if __name__ == "__main__":
    main()
