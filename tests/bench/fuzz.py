"""`./dev bench fuzz`: random and malformed requests, thrown at the application over SQLite by several processes.

Ends with status 1 where an answer was a fault of the server, or a refused request left something in the database. The
same seed draws the same requests. Each share of them has a seed of its own, and is played again by
`--seed SEED --requests COUNT`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.examples.__main__ import fresh
from tests.fuzz.run import run

SHARE = 20_000
SHOWN = 5


@dataclass(frozen=True)
class Thrown:
    """What became of the share of a seed, as a line of the journal keeps it."""

    seed: int
    requests: int
    statuses: dict[str, int]
    faults: list[str]


def throw(seed: int, count: int) -> Thrown:
    """`count` requests of `seed` over a database of their own."""
    directory = Path(tempfile.mkdtemp(prefix="pileus-fuzz-"))
    engine = fresh(directory)
    try:
        found = run(engine, directory, count, seed)
    finally:
        engine.dispose()
        shutil.rmtree(directory)
    return Thrown(seed, count, {str(status): number for status, number in found.statuses.items()}, found.faults)


def kept(journal: Path | None) -> dict[int, Thrown]:
    """By seed: the shares that the journal has; a line that was cut off by an end counts for nothing."""
    found: dict[int, Thrown] = {}
    if journal is None or not journal.exists():
        return found
    for line in journal.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            share = Thrown(**json.loads(line))
            found[share.seed] = share
    return found


def throw_all(counts: dict[int, int], processes: int, journal: Path | None) -> Iterator[Thrown]:
    """The shares of `counts`, by seed; those that the journal has are not thrown again, and the others go into it."""
    done = kept(journal)
    yield from (share for seed, share in done.items() if share.requests == counts.get(seed))
    open_seeds = [seed for seed, count in counts.items() if seed not in done or done[seed].requests != count]
    with ProcessPoolExecutor(processes, max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(throw, seed, counts[seed]) for seed in open_seeds]):
            share = future.result()
            if journal is not None:
                with journal.open("a") as file:
                    file.write(json.dumps(asdict(share)) + "\n")
            yield share


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="that of the first share; the next ones follow")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--journal", type=Path, help="keeps what was done; with the same one a run goes on")
    given = parser.parse_args()
    os.environ["PILEUS_LOG_LEVEL"] = "CRITICAL"
    shares = range(0, given.requests, SHARE)
    counts = {given.seed + number: min(SHARE, given.requests - begin) for number, begin in enumerate(shares)}
    statuses: Counter[str] = Counter()
    faults = 0
    begun = time.monotonic()
    for share in throw_all(counts, given.processes, given.journal):
        statuses += Counter(share.statuses)
        faults += len(share.faults)
        told = f"seed {share.seed} done; {statuses.total()} requests, {faults} faults"
        print(*share.faults[:SHOWN], told, sep="\n", file=sys.stderr)
    figures = {"requests": statuses.total(), "faults": faults, "seconds": round(time.monotonic() - begun)}
    print(json.dumps({"benchmark": "fuzz", **figures, "statuses": dict(sorted(statuses.items()))}))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
