"""The flow tables as a pure function: golden files, words that must not occur, and the way between two sets.

PILEUS_WRITE_GOLDEN=1 writes the golden files anew.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import InvalidViewError
from network.flows import FlowSet, check_view, desired, diff
from network.flows import replace as replace_all
from network.types import NetworkView, NicView, Policy, PolicyRule, Traffic
from tests.unit.network.views import network, nic, numbers

GOLDEN = Path(__file__).parents[2] / "golden" / "network"
ROUTED = [nic("a", "1", "host-1"), nic("a", "2", "host-2"), nic("a", "router", "host-3", "router")]
ITEMS = (
    PolicyRule(
        "no-ssh", "ingress", Traffic("tcp", 22, 22, sources=("203.0.113.0/25", "203.0.113.128/25")), allow=False
    ),
    PolicyRule("high", "ingress", Traffic("tcp", 1024, 65535)),
    PolicyRule("pings", "egress", Traffic("icmp", icmp_type=8, icmp_code=0)),
)
RULES = (
    PolicyRule("each-other", "ingress", Traffic("all"), group="g1"),
    PolicyRule("web", "ingress", Traffic("tcp", 80, 81)),
    PolicyRule("out", "egress", Traffic("all")),
)
BARE = [replace(one, address="") for one in ROUTED[:2]]
APART = [*(replace(one, groups=("g1",)) for one in ROUTED[:2]), replace(ROUTED[2], address="10.1.1.200")]
CASES = {
    "empty": ("host-1", []),
    "guests": ("host-1", [network("a", 1001, ROUTED)]),
    "router": ("host-3", [network("a", 1001, ROUTED)]),
    "further": ("host-1", [network("a", 1001, [replace(ROUTED[0], further=("10.1.1.50",)), *ROUTED[1:]])]),
    "rates": ("host-1", [network("a", 1001, [replace(ROUTED[0], rate=100), replace(ROUTED[1], rate=5), ROUTED[2]])]),
    "closed": ("host-1", [network("a", 1001, ROUTED, egress_open=False)]),
    "broadcast": ("host-1", [network("a", 1001, ROUTED[:2], broadcast=True)]),
    "two-tenants": (
        "host-2",
        [network("a", 1001, ROUTED), network("b", 2**32 - 1, [nic("b", "1", "host-2"), nic("b", "2", "host-2")])],
    ),
    "listed": ("host-1", [network("a", 1001, ROUTED, acl=Policy("list", ITEMS))]),
    "grouped": (
        "host-1",
        [
            network(
                "a",
                1001,
                [replace(one, groups=("g1",)) for one in ROUTED[:2]] + ROUTED[2:],
                has_groups=True,
                groups=(Policy("g1", RULES),),
            )
        ],
    ),
    "bare": ("host-1", [replace(network("a", 1001, BARE, bare=True), cidr="", gateway="")]),
    "outside": ("host-1", [network("a", 1001, APART, gateway_outside=True)]),
    "grouped-outside": (
        "host-1",
        [network("a", 1001, APART, gateway_outside=True, has_groups=True, groups=(Policy("g1", RULES),))],
    ),
    "elsewhere": ("host-4", [network("a", 1001, ROUTED)]),
}


def flows_of(case: str) -> FlowSet:
    host, views = CASES[case]
    return desired(host, views, numbers(host, views))


def test_dhcp_goes_to_the_first_of_several_routers():
    device = replace(ROUTED[2], id="nic-device", mac="02:00:00:00:00:77")
    served = replace(ROUTED[2], address="10.1.1.2")
    view = network("a", 1001, [*ROUTED[:2], served, device])
    flows = desired("host-1", [view], numbers("host-1", [view])).flows
    (asked,) = [flow for flow in flows if "table=15" in flow and "tp_dst=67" in flow]
    assert f"set_field:{served.mac}->eth_dst" in asked
    (answer,) = [flow for flow in flows if "arp_tpa=10.1.1.1," in flow]
    assert f"set_field:{device.mac}->arp_sha" in answer


@pytest.mark.parametrize("case", CASES)
def test_flows_are_those_of_the_golden_file(case):
    found = flows_of(case)
    text = "\n".join([*found.flows, *found.groups, *found.meters]) + "\n"
    golden = GOLDEN / f"{case}.flows"
    if os.environ.get("PILEUS_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_nothing_floods_learns_or_asks_a_controller():
    text = "\n".join(line for case in CASES for found in [flows_of(case)] for line in (*found.flows, *found.groups))
    assert not re.search(r"normal|flood|learn|controller|\ball\b(?<!type=all)", text, re.IGNORECASE)


@pytest.mark.parametrize("case", CASES)
def test_every_table_ends_in_an_explicit_drop(case):
    lines = flows_of(case).flows
    tables = {re.search(r"table=(\d+)", line).group(1) for line in lines} - {"63"}
    targets = {number for line in lines for number in re.findall(r"(?:goto_table:|table=|resubmit\(,)(\d+)", line)}
    assert targets <= tables | {"63"}
    for table in tables:
        assert f"cookie=0xdead,table={table},priority=0,actions=drop" in lines


def test_no_flow_stands_twice():
    lines = flows_of("two-tenants").flows
    matches = [line.partition(",actions=")[0].partition(",")[2] for line in lines]
    assert len(set(matches)) == len(matches)


def test_the_order_of_what_is_given_does_not_matter():
    host, views = CASES["two-tenants"]
    turned = [replace(view, nics=view.nics[::-1], peers=view.peers[::-1]) for view in reversed(views)]
    assert desired(host, turned, numbers(host, views)) == flows_of("two-tenants")


def test_the_canary_tells_sets_apart():
    assert len({flows_of(case).canary for case in CASES}) == len(CASES) - 1  # two cases have no network on the host
    assert flows_of("empty") == flows_of("elsewhere")


def test_growth_is_by_tenant_not_by_cloud():
    """A host pays two flows for a NIC elsewhere in its networks, and nothing for other networks."""

    def tenant(size: int) -> NetworkView:
        away = [
            NicView(f"n{i}", f"02:00:00:01:{i // 256:02x}:{i % 256:02x}", f"10.1.{2 + i // 250}.{i % 250}", "host-2")
            for i in range(size)
        ]
        return replace(network("a", 7, [nic("a", "1", "host-1"), *away]), cidr="10.1.0.0/16")

    other = network("b", 8, [nic("b", "1", "host-2")])
    few, many = (desired("host-1", [view, other], numbers("host-1", [view])) for view in (tenant(100), tenant(500)))
    assert len(many.flows) - len(few.flows) == 2 * 400


@pytest.mark.parametrize(
    "change",
    [
        {"key": 0},
        {"key": 2**32},
        {"gateway": "10.9.9.9"},
        {"cidr": "10.1.1.0/24,actions=NORMAL"},
        {"nics": (replace(ROUTED[0], mac="02:00:00:00:00:01\nflow add actions=NORMAL"),)},
        {"nics": (replace(ROUTED[0], mac="ff:ff:ff:ff:ff:ff"),)},
        {"nics": (replace(ROUTED[0], address="10.1.1.1,tcp"),)},
        {"nics": (ROUTED[0], replace(ROUTED[1], mac=ROUTED[0].mac))},
        {"nics": (replace(ROUTED[0], further=(ROUTED[1].address,)), ROUTED[1])},
        {"nics": (replace(ROUTED[0], further=("10.1.1.50,tcp",)),)},
        {"nics": (ROUTED[0], replace(ROUTED[1], address=ROUTED[0].address))},
    ],
)
def test_a_view_that_contradicts_itself_is_refused(change):
    view = replace(network("a", 1001, ROUTED), **change)
    with pytest.raises(InvalidViewError, match="net-a"):
        check_view(view)
    with pytest.raises(InvalidViewError):
        desired(view.nics[0].host_id, [view], numbers(view.nics[0].host_id, [view]))


def test_one_key_for_two_networks_is_refused():
    views = [network("a", 5, [nic("a", "1", "host-1")]), network("b", 5, [nic("b", "1", "host-1")])]
    with pytest.raises(InvalidViewError, match="the same key"):
        desired("host-1", views, numbers("host-1", views))


def test_one_nic_in_two_networks_is_refused():
    one = nic("a", "1", "host-1")
    views = [network("a", 5, [one]), network("b", 6, [one])]
    with pytest.raises(InvalidViewError, match="two networks"):
        desired("host-1", views, numbers("host-1", views))


class Table:
    """What a switch does with a bundle."""

    def __init__(self) -> None:
        self.flows: dict[str, str] = {}
        self.groups: dict[int, str] = {}

    def run(self, lines) -> None:
        for line in lines:
            verb, _, rest = line.partition(" ")
            action, _, what = rest.partition(" ")
            match verb, action:
                case "group", "add_or_mod":
                    self.groups[int(what.partition(",")[0][9:])] = what
                case "group", "delete":
                    number = int(what[9:])
                    assert not any(f"group:{number}" in flow for flow in self.flows.values()), "in use: crashes 3.1"
                    del self.groups[number]
                case "flow", "add":
                    self.flows[what.partition(",actions=")[0].partition(",")[2]] = what
                    for number in re.findall(r"group:(\d+)", what):
                        assert int(number) in self.groups
                case "flow", "delete_strict":
                    del self.flows[what]
                case _:
                    assert rest == "delete"
                    self.flows.clear()

    def holds(self, wanted: FlowSet) -> bool:
        return set(self.flows.values()) == set(wanted.flows) and set(self.groups.values()) == set(wanted.groups)


@st.composite
def clouds(draw) -> list[NetworkView]:
    """Some networks of three hosts, with equal MAC and IP addresses in all."""
    views = []
    for tenant, key in (("a", 1001), ("b", 1002)):
        names = draw(st.sets(st.sampled_from(["1", "2", "3"])))
        nics = [nic(tenant, name, draw(st.sampled_from(["host-1", "host-2", "host-3"]))) for name in sorted(names)]
        if draw(st.booleans()):
            nics.append(nic(tenant, "router", draw(st.sampled_from(["host-1", "host-2"])), "router"))
        if nics:
            flags = {"broadcast": draw(st.booleans()), "egress_open": draw(st.booleans())}
            views.append(network(tenant, key, nics, **flags))
    return views


@given(clouds(), clouds())
def test_a_difference_leads_from_any_set_to_any_other(before, after):
    old, new = (desired("host-1", views, numbers("host-1", views)) for views in (before, after))
    table = Table()
    first = replace_all(old, [])
    table.run(first.change)
    assert table.holds(old)
    bundles = diff(old, new)
    table.run(bundles.change)
    table.run(bundles.stale)
    assert table.holds(new)
    assert diff(new, new).change == diff(new, new).stale == ()


@given(clouds(), clouds())
def test_a_replacement_leads_there_from_anything(before, after):
    old, new = (desired("host-1", views, numbers("host-1", views)) for views in (before, after))
    table = Table()
    table.run(replace_all(old, []).change)
    bundles = replace_all(new, list(table.groups))
    table.run(bundles.change)
    table.run(bundles.stale)
    assert table.holds(new)
