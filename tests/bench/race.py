"""`./dev bench race`: a hundred clients on the two processes of the API race for last units, names and an address.

Each race tells how many calls were answered how; a limit passed, a name or address given twice, or a refusal for
another reason fails it.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from devcloud.management import Keys
from tests.bench.site import NETWORK_OFFERING, Site
from tests.bench.wire import Client, Refused

CLIENTS = 100
ROOM = 7
NAMES = 5
ADDRESS = "10.1.1.77"


def race(port: int, keys: Keys, ask: Callable[[Client, int], Any]) -> dict[str, int]:
    """How often the calls of all clients, sent at the same moment, were answered how."""
    ready = threading.Barrier(CLIENTS)

    def one(number: int) -> str:
        client = Client(port, keys)
        ready.wait(60)
        try:
            ask(client, number)
        except Refused as error:
            return str(error).split(": ", 1)[1].split(";")[0]
        return "made"

    with ThreadPoolExecutor(CLIENTS) as pool:
        return dict(Counter(pool.map(one, range(CLIENTS))))


def demand(found: dict[str, int], made: int, *reasons: str) -> None:
    """:raises AssertionError: not exactly `made` calls were done, or another reason than `reasons` was given"""
    others = [text for text in found if text != "made" and not any(reason in text for reason in reasons)]
    assert found.get("made", 0) == made, found
    assert not others, found


def races(site: Site) -> dict[str, dict[str, int]]:
    tenant = site.tenants(1)[0]
    client, place = Client(site.port, tenant.keys), site.place()
    offering = client("listNetworkOfferings", name=NETWORK_OFFERING)["networkoffering"][0]["id"]
    network = {"zoneid": place["zoneid"], "networkofferingid": offering}
    domain = site.root("listDomains", name="ROOT")["domain"][0]["id"]
    whom = {"account": "bench0", "domainid": domain}
    site.root("updateResourceLimit", resourcetype=6, max=1 + ROOM, **whom)
    found = {"networks": race(site.port, tenant.keys, lambda c, n: c("createNetwork", name=f"n{n}", **network))}
    demand(found["networks"], ROOM, f"Account bench0 may hold {1 + ROOM} networks")
    site.root("updateResourceLimit", resourcetype=5, max=ROOM, **whom)
    found["projects"] = race(site.port, tenant.keys, lambda c, n: c("createProject", name=f"p{n}"))
    demand(found["projects"], ROOM, f"Account bench0 may hold {ROOM} projects")
    found["names"] = race(site.port, tenant.keys, lambda c, n: c("createSSHKeyPair", name=f"k{n % NAMES}"))
    demand(found["names"], NAMES, "has an SSH key pair k")
    wanted = {**place, "networkids": tenant.network_id, "ipaddress": ADDRESS, "startvm": "false"}
    found["address"] = race(site.port, tenant.keys, lambda c, n: c("deployVirtualMachine", name=f"vm{n}", **wanted))
    demand(found["address"], 1, f"Address {ADDRESS} of network")
    drift = site.root("listDrift").get("drift", [])
    assert not [row for row in drift if row["type"] == "counter"], drift
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench race", description=__doc__)
    parser.add_argument("--port", type=int, default=18080, help="of the API (default 18080)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench"), help="where its files lie")
    options = parser.parse_args()
    started = time.monotonic()
    with Site(options.state, options.port, hosts=1) as site:
        found = races(site)
    for name, answers in found.items():
        print(name)
        for text, count in sorted(answers.items(), key=lambda pair: -pair[1]):
            print(f"  {count:4} {text}")
    print(json.dumps({"benchmark": "race", "seconds": round(time.monotonic() - started, 1), **found}))


if __name__ == "__main__":
    main()
