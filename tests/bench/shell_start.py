"""How long a command of the shell takes from start to end, as a ratio to a bare interpreter with the same libraries.

`./dev bench shell_start [--rounds N]`: the kinds take turns in one run, so that whatever else the machine does falls
on all alike; the middle of the times counts. The server is on loopback and answers at once; its list of commands is
as long as that of a whole CloudStack. The `tab_` kinds are what bash or zsh starts at each Tab.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.unit.shell.foreign import foreign_cloud
from ui.shell.catalog import Catalog
from ui.shell.profiles import Config

ROOT = Path(__file__).resolve().parents[2]
BARE = [sys.executable, "-c", "import json, urllib.request, hmac"]
PILEUS = [sys.executable, "-c", "import sys; from ui.shell.main import main; sys.exit(main())"]
COMMANDS = 973  # of CloudStack 4.22
ZONE = "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a001"
KINDS = {
    "bare": BARE,
    "list": [*PILEUS, "list", "zones"],
    "help": [*PILEUS, "help", "list", "zones"],
    "tab_noun": [*PILEUS, "__complete", "zsh", "pileus list "],
    "tab_parameter": [*PILEUS, "__complete", "bash", "pileus deploy virtualmachine zo"],
    "tab_value": [*PILEUS, "__complete", "bash", "pileus deploy virtualmachine zoneid="],
}


def filled(catalog: Catalog) -> None:
    """The commands of the test's cloud, and as many more as a whole CloudStack has, of the usual size."""
    from tests.unit.shell.foreign import APIS

    known = APIS["api"]
    more = [
        {**known[number % len(known)], "name": f"list{chr(65 + number % 26)}x{number}"} for number in range(COMMANDS)
    ]
    catalog.keep([*known, *more])


def seconds(argv: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, check=True, env=env, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    with foreign_cloud() as cloud, tempfile.TemporaryDirectory() as home:
        cloud.replies["listZones"] = {"count": 1, "zone": [{"id": ZONE, "name": "one"}]}
        keys = {"CLOUDSTACK_ENDPOINT": cloud.url, "CLOUDSTACK_KEY": "key", "CLOUDSTACK_SECRET": "any"}
        env = {"HOME": home, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **keys}
        config = Config(env)
        filled(Catalog.open(config.cache, config.chosen()))
        times: dict[str, list[float]] = {name: [] for name in KINDS}
        for name, argv in KINDS.items():
            seconds(argv, env)  # compiles what is not compiled yet
            print(f"{name}: {' '.join(argv[3:]) or argv[2]}")
        for _ in range(rounds):
            for name, argv in KINDS.items():
                times[name].append(seconds(argv, env))
    middle = {name: statistics.median(found) for name, found in times.items()}
    found = {f"{name}_ms": round(value * 1000, 1) for name, value in middle.items()}
    ratios = {f"{name}_ratio": round(middle[name] / middle["bare"], 3) for name in KINDS if name != "bare"}
    print(json.dumps({"benchmark": "shell_start", "rounds": rounds, **found, **ratios}))


if __name__ == "__main__":
    main()
