"""`./dev bench fuzz`: random and malformed requests, thrown at the application over SQLite by several processes.

Ends with status 1 where an answer was a fault of the server, or a refused request left something in the database. The
same seed draws the same requests.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.examples.__main__ import fresh
from tests.fuzz.run import Found, run

SHARE = 5_000
SHOWN = 5


def throw(seed: int, count: int) -> Found:
    """`count` requests of `seed` over a database of their own."""
    directory = Path(tempfile.mkdtemp(prefix="pileus-fuzz-"))
    engine = fresh(directory)
    try:
        return run(engine, directory, count, seed)
    finally:
        engine.dispose()
        shutil.rmtree(directory)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="that of the first share; the next ones follow")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    os.environ["PILEUS_LOG_LEVEL"] = "CRITICAL"
    counts = [min(SHARE, given.requests - done) for done in range(0, given.requests, SHARE)]
    seeds = range(given.seed, given.seed + len(counts))
    statuses: Counter[int] = Counter()
    faults = 0
    begun = time.monotonic()
    with ProcessPoolExecutor(given.processes, max_tasks_per_child=1) as pool:
        for found in pool.map(throw, seeds, counts):
            statuses += found.statuses
            faults += len(found.faults)
            print(*found.faults[:SHOWN], f"{statuses.total()} requests, {faults} faults", sep="\n", file=sys.stderr)
    figures = {"requests": statuses.total(), "faults": faults, "seconds": round(time.monotonic() - begun)}
    print(json.dumps({"benchmark": "fuzz", **figures, "statuses": dict(sorted(statuses.items()))}))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
