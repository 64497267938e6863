"""`./dev devcloud`: bring a cloud of emulated hosts up on this machine, prove it, show it, end it."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from cs import CloudStackException

from devcloud import status
from devcloud.cloud import DevCloud
from devcloud.paths import Site
from devcloud.processes import CommandError, NotReadyError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev devcloud", description=__doc__)
    actions = ["all", "up", "prove", "status", "env", "down"]
    parser.add_argument("action", nargs="?", default="all", choices=actions, help="all (default) is up and prove")
    parser.add_argument("--hosts", type=int, default=2, help="how many emulated hosts (default 2)")
    return parser.parse_args()


def prove() -> int:
    """Exit code of the proof, which is loaded when it is wanted, for it needs a running cloud."""
    code: int | None = import_module("devcloud.proof").main()
    return code or 0


def act(action: str, cloud: DevCloud) -> int:
    if action == "env":
        print(status.cloud_exports(cloud), end="")
        return 0
    if action == "status":
        return 0 if status.show(cloud) else 1
    if action == "down":
        cloud.down()
        return 0
    if action in {"all", "up"}:
        cloud.up()
    if action in {"all", "prove"} and (code := prove()):
        return code
    if action in {"all", "up"}:
        status.show(cloud)
    return 0


def main() -> int:
    chosen = arguments()
    if os.geteuid() != 0:
        print("DevCloud makes network namespaces, which only root may.", file=sys.stderr)
        return 1
    try:
        return act(chosen.action, DevCloud(Site(), chosen.hosts))
    except (CommandError, NotReadyError, CloudStackException) as error:
        print(f"\ndevcloud: {error}", file=sys.stderr)
    except FileNotFoundError as error:
        print(f"\ndevcloud: {error.filename} is missing; is the cloud up?", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
