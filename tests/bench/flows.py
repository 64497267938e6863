"""`./dev bench flows`: flows of one host, how long it takes to compute them, and what a change of one rule costs.

Nothing is started: the flows are computed as an agent computes them, and no switch is asked. `ratio` is the time as a
multiple of a fixed piece of Python work that is measured beside it, so that runs on other machines compare.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from network.flows import FlowSet, desired, diff
from network.switch_record import Record
from network.types import NetworkView, NicView, Peer, Policy, PolicyRule, Traffic
from tests.bench.measure import pace

HERE = "host-0"
ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """`guests` of each of `networks`, spread over `hosts`; `rules` of its one group, or of its list with `ordered`."""

    name: str
    networks: int
    guests: int
    hosts: int
    rules: int = 0
    ordered: bool = False

    def views(self) -> list[NetworkView]:
        return [self._view(number) for number in range(self.networks)]

    def _view(self, network: int) -> NetworkView:
        groups = ("group",) if self.rules and not self.ordered else ()
        nics = [
            NicView(f"n{network}-{i}", _mac(network, i), _address(i), f"host-{(network + i) % self.hosts}",
                    groups=groups)
            for i in range(self.guests)
        ]  # fmt: skip
        nics.append(NicView(f"r{network}", _mac(network, self.guests), "10.0.0.1", "host-1", "router"))
        peers = tuple(Peer(f"host-{i}", f"192.0.{i // 250}.{i % 250 + 1}") for i in range(self.hosts))
        view = NetworkView(
            f"net-{network}", network + 1, 1, "10.0.0.0/8", "10.0.0.1", 1458, tuple(nics), peers
        )  # fmt: skip
        policy = Policy("group", tuple(_rule(i) for i in range(self.rules)))
        if not self.rules:
            return view
        return replace(view, acl=policy) if self.ordered else replace(view, has_groups=True, groups=(policy,))


CASES = (
    Case("10 networks of 20 guests on 10 hosts", 10, 20, 10),
    Case("100 networks of 20 guests on 10 hosts", 100, 20, 10),
    Case("10 networks of 200 guests on 10 hosts", 10, 200, 10),
    Case("10 networks of 200 guests on 100 hosts", 10, 200, 100),
    Case("one network of 5000 guests on 100 hosts", 1, 5000, 100),
    Case("one network of 5000 guests in a group of 10 rules on 100 hosts", 1, 5000, 100, rules=10),
    Case("10 networks of 20 guests, 10 rules of a group each", 10, 20, 10, rules=10),
    Case("10 networks of 20 guests, 100 rules of a group each", 10, 20, 10, rules=100),
    Case("one network of 20 guests, 10000 rules of a group", 1, 20, 10, rules=10_000),
    Case("one network of 20 guests, 10000 items of a list", 1, 20, 10, rules=10_000, ordered=True),
)


def _rule(number: int) -> PolicyRule:
    sources = (f"172.{16 + number // 65536}.{number // 256 % 256}.{number % 256}/32",)
    return PolicyRule(f"rule-{number}", "ingress", Traffic("tcp", number + 1, number + 1, sources=sources))


def _address(number: int) -> str:
    return f"10.0.{1 + number // 250}.{number % 250 + 1}"


def _mac(network: int, number: int) -> str:
    return f"02:00:{network // 256:02x}:{network % 256:02x}:{number // 256:02x}:{number % 256:02x}"


def compute(views: list[NetworkView]) -> FlowSet:
    return desired(HERE, views, Record().number(HERE, views))


def timed(work: Callable[[], object]) -> float:
    """The median of some rounds, in CPU seconds."""
    found = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return statistics.median(found)


def with_one_more(view: NetworkView) -> NetworkView:
    more = PolicyRule("more", "ingress", Traffic("udp", 53, 53))
    if view.acl is not None:
        return replace(view, acl=replace(view.acl, rules=(*view.acl.rules, more)))
    group = view.groups[0]
    return replace(view, groups=(replace(group, rules=(*group.rules, more)), *view.groups[1:]))


def measure(case: Case) -> dict[str, object]:
    views = case.views()
    flows = compute(views)
    seconds = timed(lambda: compute(views))
    found: dict[str, object] = {
        "case": case.name,
        "flows": len(flows.flows),
        "seconds": round(seconds, 3),
        "ratio": round(seconds / pace(), 1),
    }
    if case.rules:
        other = compute([with_one_more(views[0]), *views[1:]])
        found["lines_of_one_more_rule"] = len(diff(flows, other).change)
        found["seconds_of_the_difference"] = round(timed(lambda: diff(flows, other)), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench flows", description=__doc__)
    parser.parse_args()
    rows = [measure(case) for case in CASES]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    print(json.dumps({"benchmark": "flows", "cases": rows}))


if __name__ == "__main__":
    main()
