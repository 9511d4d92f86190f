"""How many jobs a second does one caller add, one after the other?

`Queue.add` and `await AsyncQueue.add` against `await queue.add` of the `bullmq` package for Python,
which has no blocking one. And what CPU does each take, here and in the server? Jobs a second depend
on more than that, such as the core on which the other side is woken.
"""

from __future__ import annotations

from benchmarks.adding import PRODUCERS, figures, toril
from benchmarks.contestants import is_there
from benchmarks.harness import Side, compare, options, server
from benchmarks.machine import PEERS_PYTHON


def main() -> None:
    given = options(__doc__)
    jobs = 200 if given.smoke else 10_000
    with server() as url:
        sides = [
            Side("toril Queue.add", lambda: figures(toril("blocking"), url, jobs)),
            Side("toril AsyncQueue.add", lambda: figures(toril("asyncio"), url, jobs)),
        ]
        if is_there(PEERS_PYTHON, given):
            peer = [str(PEERS_PYTHON), str(PRODUCERS / "bullmq_python.py")]
            sides.append(Side("bullmq (Python) queue.add", lambda: figures(peer, url, jobs)))
        compare(f"{jobs} jobs added one by one", "jobs/s", sides, given)


if __name__ == "__main__":
    main()
