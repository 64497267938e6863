"""Flows of security groups and ACL lists against what their rules say, and what a host refuses to take up."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from network.errors import InvalidViewError
from network.flow_tables.layout import RULE_KIND, cookie
from network.flow_tables.matches import masks
from network.flows import check_view, desired, diff
from network.types import NetworkView, Policy, PolicyRule, Traffic
from tests.unit.network.flow_reader import Packet, first, read
from tests.unit.network.views import MACS, network, nic, numbers

OUTSIDE = "203.0.113.9"
TABLES = {"ingress": (49, 51, "reg4", "reg6"), "egress": (19, 21, "reg2", "reg5")}
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1}


def rule(name: str, direction: str = "ingress", protocol: str = "tcp", *, group="", allow=True, **options):
    return PolicyRule(name, direction, Traffic(protocol, **options), allow, group)


def listed(*rules: PolicyRule) -> NetworkView:
    nics = [nic("a", "1", "host-1"), nic("a", "2", "host-2"), nic("a", "router", "host-3", "router")]
    return network("a", 1001, nics, acl=Policy("list", rules))


def grouped(first_rules=(), second_rules=(), held=(("g1",), ("g2",), ())) -> NetworkView:
    """Guest 1 is in g1, guest 2 in g2 and on another host, guest 3 in none."""
    places = (("1", "host-1"), ("2", "host-2"), ("3", "host-1"))
    nics = [
        replace(nic("a", name, host), groups=groups) for (name, host), groups in zip(places, held, strict=True)
    ]  # fmt: skip
    nics.append(nic("a", "router", "host-3", "router"))
    policies = (Policy("g1", tuple(first_rules)), Policy("g2", tuple(second_rules)))
    return network("a", 1001, nics, has_groups=True, groups=policies)


def flows(view: NetworkView, host: str = "host-1"):
    return desired(host, [view], numbers(host, [view]))


def verdict(view: NetworkView, direction: str, peer: str, state: str = "new", guest: str = "1", **fields) -> str:
    """What table 21 or 51 of the guest's host does with a packet between it and `peer`: pass, drop or cut.

    `peer` is the name of another NIC, or an address outside, which is behind the router.
    """
    own = next(one for one in view.nics if one.id == f"nic-a{guest}")
    other = next((one for one in view.nics if one.id == f"nic-a{peer}"), None)
    mac, address = (other.mac, other.address) if other else (MACS["router"], peer)
    address = fields.pop("address", address)
    ends = (("src", mac, address), ("dst", own.mac, own.address))
    if direction == "egress":
        ends = (("src", own.mac, own.address), ("dst", mac, address))
    values = {"metadata": view.key, **{f"dl_{way}": mac for way, mac, _ in ends}, **fields}
    values |= {f"nw_{way}": address for way, _, address in ends}
    found = desired(own.host_id, [view], numbers(own.host_id, [view]))
    tables = read(found.flows)
    early, late, register, _ = TABLES[direction]
    packet = Packet(values, state, {register: classes(tables, register, own)})
    if view.has_groups:
        met = first(tables[early], packet)
        if "set_field" in met.actions:
            value, _, name = met.actions.partition(",")[0].removeprefix("set_field:").partition("->")
            packet.registers[name] = int(value, 0)
    actions = first(tables[late], packet).actions
    return "drop" if actions == "drop" else "cut" if "ct_mark" in actions else "pass"


def classes(tables, register: str, own) -> int:
    for line in tables[0] if register == "reg2" else tables[40]:
        if line.match.get("dl_dst", own.mac) == own.mac and f"->{register}" in line.actions and _is_of(line, own):
            return int(line.actions.partition(f"->{register}")[0].rpartition("set_field:")[2], 0)
    raise AssertionError(own)


def _is_of(line, own) -> bool:
    return line.cookie == cookie(0x01, own.id)


TCP22 = {"nw_proto": 6, "tp_dst": 22}


def test_inside_a_tier_all_is_allowed_and_from_elsewhere_what_the_list_allows():
    view = listed(rule("in", first_port=22, last_port=22, sources=("203.0.113.0/24",)))
    assert verdict(view, "ingress", "2", nw_proto=17, tp_dst=9) == "pass"
    assert verdict(view, "ingress", OUTSIDE, **TCP22) == "pass"
    assert verdict(view, "ingress", "198.51.100.7", **TCP22) == "drop"
    assert verdict(view, "ingress", OUTSIDE, nw_proto=6, tp_dst=23) == "drop"
    assert verdict(view, "egress", "2", nw_proto=17, tp_dst=9) == "pass"
    assert verdict(view, "egress", OUTSIDE, **TCP22) == "drop"
    assert verdict(view, "egress", OUTSIDE, address="169.254.169.254", nw_proto=6, tp_dst=80) == "pass"


def test_a_router_speaks_for_itself_and_forwards_nothing_that_claims_to_be_inside():
    view = listed()
    assert verdict(view, "ingress", "router", **TCP22) == "pass"
    assert verdict(view, "ingress", "10.1.1.12", **TCP22) == "drop"
    assert verdict(replace(view, acl=None), "ingress", "10.1.1.12", **TCP22) == "pass"


def test_of_the_items_the_first_that_fits_holds():
    deny = rule("no", allow=False, first_port=22, last_port=22, sources=("203.0.113.9/32",))
    allow = rule("yes", sources=("203.0.113.0/24",))
    assert verdict(listed(deny, allow), "ingress", OUTSIDE, **TCP22) == "drop"
    assert verdict(listed(deny, allow), "ingress", "203.0.113.8", **TCP22) == "pass"
    assert verdict(listed(allow, deny), "ingress", OUTSIDE, **TCP22) == "pass"


def test_what_is_denied_now_ends_also_when_it_was_established():
    deny, allow = rule("no", allow=False), rule("yes", "ingress", "all")
    for view in (listed(deny, allow), listed(), grouped()):
        assert verdict(view, "ingress", OUTSIDE, "established", **TCP22) == "cut"
    assert verdict(listed(allow), "ingress", OUTSIDE, "established", **TCP22) == "pass"


def test_groups_hold_inside_the_network_too():
    view = grouped([rule("r1", first_port=22, last_port=22, sources=("10.1.1.12/32",))])
    assert verdict(view, "ingress", "2", **TCP22) == "pass"
    assert verdict(view, "ingress", "3", **TCP22) == "drop"
    assert verdict(view, "ingress", "router", **TCP22) == "drop"
    assert verdict(view, "egress", "2", **TCP22) == "drop"
    assert verdict(view, "ingress", "1", guest="3", **TCP22) == "drop"


def test_guests_ask_their_router_without_a_rule():
    view = grouped()
    assert verdict(view, "egress", "router", nw_proto=17, tp_dst=53) == "pass"
    assert verdict(view, "egress", "router", address="169.254.169.254", nw_proto=6, tp_dst=80) == "pass"
    assert verdict(view, "egress", OUTSIDE, nw_proto=17, tp_dst=53) == "drop"
    assert verdict(view, "egress", "2", address="10.1.1.1", nw_proto=17, tp_dst=53) == "drop"


def test_a_rule_may_name_a_group_and_holds_for_its_guests_on_all_hosts():
    view = grouped([rule("r1", group="g2", first_port=22, last_port=23), rule("r2", "egress", "all", group="g1")])
    assert verdict(view, "ingress", "2", **TCP22) == "pass"
    assert verdict(view, "ingress", "3", **TCP22) == "drop"
    assert verdict(view, "ingress", "10.1.1.12", **TCP22) == "drop"  # its address, but from the router
    assert verdict(view, "egress", "2", **TCP22) == "drop"
    moved = grouped(view.groups[0].rules, held=(("g1",), (), ("g1", "g2")))
    assert verdict(moved, "ingress", "3", **TCP22) == "pass"
    assert verdict(moved, "ingress", "2", **TCP22) == "drop"
    assert verdict(moved, "egress", "3", **TCP22) == "pass"


def test_further_addresses_of_a_member_count():
    view = grouped([rule("r1", group="g2")])
    more = replace(view, nics=tuple(replace(one, further=("10.1.1.50",)) if one.id == "nic-a2" else one
                                    for one in view.nics))  # fmt: skip
    assert verdict(more, "ingress", "2", address="10.1.1.50", **TCP22) == "pass"
    assert verdict(view, "ingress", "2", address="10.1.1.50", **TCP22) == "drop"


def test_equal_groups_in_two_networks_are_two_classes():
    """Else a member of the one network would be let in by its address, which the other network may have given away."""
    one = grouped([rule("r1", group="g2")])
    nics = tuple(replace(each, id=f"x{each.id}") for each in one.nics)
    views = [one, replace(one, id="net-b", key=1002, nics=nics)]
    given_numbers = numbers("host-1", views)
    assert len(set(given_numbers.classes.values())) == 6
    lines = desired("host-1", views, given_numbers).flows
    assert len([line for line in lines if f"cookie={cookie(RULE_KIND, 'r1'):#x}," in line]) == 4


def test_every_rule_has_its_own_cookie():
    rules = [rule(f"r{number}", first_port=number, last_port=number) for number in range(1, 4)]
    for view in (listed(*rules), grouped(rules)):
        found = [line for lines in read(flows(view).flows).values() for line in lines if line.cookie >> 56 == RULE_KIND]
        assert {line.cookie for line in found} == {cookie(RULE_KIND, each.id) for each in rules}


def test_a_host_that_runs_no_guest_of_a_network_has_none_of_its_rules():
    for view in (listed(rule("r1")), grouped([rule("r1")])):
        assert "table=51,priority=1000" not in str(flows(view, "host-3").flows)
        assert f"{cookie(RULE_KIND, 'r1'):#x}" not in str(flows(view, "host-3").flows)


def test_an_item_at_the_end_changes_its_own_flows_alone():
    rules = [rule(f"r{number}", first_port=2 * number, last_port=2 * number) for number in range(1, 500)]
    bundles = diff(flows(listed(*rules[:-1])), flows(listed(*rules)))
    assert len(bundles.change) == 2 + 1  # its pair, and the canary
    bundles = diff(flows(grouped(rules[:-1])), flows(grouped(rules)))
    assert len(bundles.change) == 2 + 1


@given(st.integers(0, 65535), st.integers(0, 65535))
@example(0, 65535)
@example(1, 65534)
def test_masks_are_exactly_the_range(one, other):
    low, high = min(one, other), max(one, other)
    found = masks(low, high)
    assert len(found) <= 30
    spans = []
    for text in found:
        value, _, mask = (text.removeprefix(",tp_dst=") or "0/0").partition("/")
        size = 0x10000 - int(mask or "0xffff", 0)
        spans.append((int(value, 0), int(value, 0) + size - 1))
    assert spans[0][0] == low
    assert spans[-1][1] == high
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(spans))


ADDRESSES = ["10.1.1.12", "10.1.1.13", OUTSIDE, "203.0.113.8", "198.51.100.7", "0.0.0.1", "255.255.255.254"]
NETWORKS = st.lists(
    st.tuples(st.sampled_from(ADDRESSES), st.integers(0, 32)).map(
        lambda pair: str(IPv4Network(f"{pair[0]}/{pair[1]}", strict=False))
    ),
    max_size=3,
).map(tuple)
PORTS = st.one_of(st.just((None, None)), st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted))
BYTE = st.integers(0, 255)


@st.composite
def policy_rules(draw, number: int, *, ordered: bool) -> PolicyRule:
    direction = draw(st.sampled_from(["ingress", "egress"]))
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp", "all", "0", "6", "47", "255"]))
    options: dict[str, object] = {}
    if protocol in ("tcp", "udp"):
        options["first_port"], options["last_port"] = draw(PORTS)
    if protocol == "icmp":
        options["icmp_type"] = draw(st.one_of(st.none(), BYTE))
        if options["icmp_type"] is not None:
            options["icmp_code"] = draw(st.one_of(st.none(), BYTE))
    group = "" if ordered else draw(st.sampled_from(["", "", "g1", "g2"]))
    if not group:
        options["sources" if direction == "ingress" else "destinations"] = draw(NETWORKS)
    return rule(f"r{number}", direction, protocol, group=group, allow=not ordered or draw(st.booleans()), **options)


@st.composite
def policies(draw, *, ordered: bool) -> list[PolicyRule]:
    return [draw(policy_rules(number, ordered=ordered)) for number in range(draw(st.integers(0, 6)))]


PACKETS = st.one_of(
    st.tuples(st.sampled_from([6, 17]), st.one_of(st.integers(0, 65535), st.sampled_from([0, 22, 65535]))).map(
        lambda pair: {"nw_proto": pair[0], "tp_dst": pair[1]}
    ),
    st.tuples(BYTE, BYTE).map(lambda pair: {"nw_proto": 1, "icmp_type": pair[0], "icmp_code": pair[1]}),
    st.sampled_from([0, 2, 47, 255]).map(lambda number: {"nw_proto": number}),
)


def fits(one: PolicyRule, packet: dict[str, int], address: str, groups: tuple[str, ...]) -> bool:
    traffic = one.traffic
    if traffic.protocol != "all" and NUMBERS.get(traffic.protocol, traffic.protocol) not in (
        packet["nw_proto"],
        str(packet["nw_proto"]),
    ):
        return False
    if traffic.first_port is not None and not traffic.first_port <= packet["tp_dst"] <= traffic.last_port:
        return False
    for wanted, name in ((traffic.icmp_type, "icmp_type"), (traffic.icmp_code, "icmp_code")):
        if wanted is not None and packet[name] != wanted:
            return False
    if one.group:
        return one.group in groups
    networks = traffic.sources + traffic.destinations
    return not networks or any(IPv4Address(address) in IPv4Network(each) for each in networks)


@settings(max_examples=150, deadline=None)
@given(policies(ordered=True), PACKETS, st.sampled_from([OUTSIDE, "198.51.100.7", "0.0.0.1"]),
       st.sampled_from(["ingress", "egress"]))  # fmt: skip
def test_flows_of_a_list_decide_as_the_list_says(rules, packet, peer, direction):
    wanted = next((r.allow for r in rules if r.direction == direction and fits(r, packet, peer, ())), False)
    view = listed(*rules)
    assert verdict(view, direction, peer, **packet) == ("pass" if wanted else "drop")
    assert verdict(view, direction, peer, "established", **packet) == ("pass" if wanted else "cut")


@settings(max_examples=150, deadline=None)
@given(policies(ordered=False), policies(ordered=False), PACKETS, st.sampled_from(["2", "3", OUTSIDE]),
       st.sampled_from(["ingress", "egress"]), st.booleans())  # fmt: skip
def test_flows_of_groups_decide_as_the_groups_say(mine, theirs, packet, peer, direction, both):
    theirs = [replace(one, id=f"x{one.id}") for one in theirs]
    view = grouped(mine, theirs, (("g1", "g2") if both else ("g1",), ("g2",), ()))
    address = {"2": "10.1.1.12", "3": "10.1.1.13"}.get(peer, peer)
    rules = [*mine, *(theirs if both else [])]
    groups = ("g2",) if peer == "2" else ()
    wanted = any(fits(r, packet, address, groups) for r in rules if r.direction == direction)
    assert verdict(view, direction, peer, **packet) == ("pass" if wanted else "drop")


@settings(max_examples=25, deadline=None)
@given(policies(ordered=True), policies(ordered=False))
def test_open_vswitch_reads_all_flows(items, rules):
    lines = [*flows(listed(*items)).flows, *flows(grouped(rules, rules)).flows]
    done = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow15", "parse-flows", "-"], input="\n".join(lines), text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


ODD = [
    rule("bad", "sideways"),
    rule("bad", protocol="ipv6-icmp"),
    rule("bad", protocol="256"),
    rule("bad", protocol="tcp,actions=NORMAL"),
    rule("bad", first_port=5, last_port=4),
    rule("bad", first_port=0, last_port=65536),
    rule("bad", last_port=4),
    rule("bad", first_port=-1, last_port=4),
    rule("bad", protocol="icmp", icmp_type=256),
    rule("bad", protocol="icmp", icmp_code=0),
    rule("bad", sources=("10.0.0.1/8",)),
    rule("bad", sources=("10.0.0.0/33",)),
    rule("bad", sources=("::/0",)),
    rule("bad", sources=("0.0.0.0/0\nflow add actions=NORMAL",)),
    rule("bad", destinations=("10.0.0.0/8",)),
    rule("bad", "egress", sources=("10.0.0.0/8",)),
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_rule_is_refused_by_its_name(odd):
    for view in (listed(rule("good"), odd), grouped([rule("good"), odd])):
        with pytest.raises(InvalidViewError, match=r"net-a.*rule bad"):
            check_view(view)


@pytest.mark.parametrize(
    "view",
    [
        grouped([rule("bad", allow=False)]),
        grouped([rule("bad", group="g2", sources=("10.0.0.0/8",))]),
        grouped(held=(("unknown",), (), ())),
        listed(rule("bad", group="g1")),
        replace(listed(), has_groups=True),
        replace(grouped(), has_groups=False),
        replace(grouped(), groups=(Policy("g1"), Policy("g1"), Policy("g2"))),
        listed(*[rule("many")] * 20_001),
    ],
    ids=lambda view: view.id,
)
def test_policies_that_contradict_the_network_are_refused(view):
    with pytest.raises(InvalidViewError, match="net-a"):
        check_view(view)
