"""The interpreter of flow tables: what it knows, what it refuses, how fast it is; and wrong flows on a host."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

import pytest

from network.flow_preview import stand_in
from network.flow_trace.bridge import Bridge, row_of
from network.flow_trace.connections import Connections
from network.flow_trace.fabric import answer_to, packet_of
from network.flow_trace.installed import compare
from network.flow_trace.owners import owners
from network.flow_trace.words import UnknownFlowError
from network.flows import FlowSet, desired
from network.probe import Frame
from tests.unit.network.test_flows import CASES, flows_of
from tests.unit.network.test_pair_flows import _view as pair_view
from tests.unit.network.test_reachability import ask, clouds
from tests.unit.network.views import MACS, network, nic, numbers
from tests.unit.network.worlds import HOSTS

PAIR = [network("a", 1001, [nic("a", "1", "host-1"), nic("a", "2", "host-1")])]
THERE = Frame(MACS["1"], MACS["2"], "10.1.1.11", "10.1.1.12", 6, 50000, 22)


@pytest.mark.parametrize("case", CASES)
def test_every_flow_of_the_builders_is_understood(case):
    flows = flows_of(case)
    assert len(Bridge(flows).rows) == len(flows.flows)


@pytest.mark.parametrize(
    "line",
    [
        "table=0,priority=1,actions=NORMAL",
        "table=0,priority=1,actions=FLOOD",
        "table=0,priority=1,actions=CONTROLLER:65535",
        "table=0,priority=1,actions=learn(table=1)",
        "table=0,priority=1,actions=resubmit(1,2)",
        "table=0,priority=1,actions=set_field:1->reg8",
        "table=0,priority=1,actions=ct(nat)",
        "table=0,priority=1,actions=ct(table=1)",
        "table=0,priority=1,ipv6,actions=drop",
        "table=0,priority=1,ct_state=+dnat,actions=drop",
        "table=0,priority=1,ip,nw_src=here,actions=drop",
        "table=0,priority=1,nw_tos=1,actions=drop",
        "table=0,priority=1,ip",
    ],
)
def test_what_no_flow_of_ours_says_is_an_error(line):
    with pytest.raises(UnknownFlowError, match="table=0,priority=1"):
        Bridge(FlowSet((line,)))


def test_two_flows_of_one_priority_that_differ_are_an_error():
    bridge = Bridge(FlowSet(("table=0,priority=1,ip,actions=drop", "table=0,priority=1,nw_proto=6,actions=in_port")))
    with pytest.raises(UnknownFlowError, match="Two flows of one priority"):
        bridge.run(packet_of(THERE) | {"in_port": 1}, Connections())


def test_a_circle_is_an_error():
    with pytest.raises(UnknownFlowError, match="without end"):
        Bridge(FlowSet(("table=0,actions=resubmit(,0)",))).run({"in_port": 1}, Connections())


def test_a_line_of_a_dump_is_the_line_that_was_given():
    """As OVS 3.1 shows it: the words in its own order, no comma before the actions."""
    given = "cookie=0x19b8,table=5,priority=90,ip,dl_src=02:00:00:00:00:01,nw_src=10.1.1.11,in_port=10001,actions=drop"
    shown = (
        " cookie=0x19b8, table=5, priority=90,ip,in_port=10001,dl_src=02:00:00:00:00:01,nw_src=10.1.1.11 actions=drop"
    )
    assert row_of(given).same(row_of(shown))
    assert not row_of(given).same(row_of(shown.replace("10.1.1.11", "10.1.1.12")))


def test_a_connection_that_is_not_allowed_any_more_is_cut():
    """Its next packet marks it, and then answers are dropped as well."""
    open_, closed = (Bridge(desired("host-1", [view], numbers("host-1", PAIR))) for view in
                     (PAIR[0], replace(PAIR[0], egress_open=False)))  # fmt: skip
    remembered = Connections()
    away = packet_of(replace(THERE, target="203.0.113.9")) | {"in_port": 10001}
    assert open_.run(away, remembered).outputs
    back = answer_to(away) | {"in_port": 10002, "dl_src": away["dl_dst"]}
    remembered.look(1, back)
    assert not closed.run(away, remembered).outputs
    assert {one.mark for key, one in remembered.held.items() if key[0] == 1} == {1}
    assert not open_.run(away, remembered).outputs


def test_the_owners_of_flows_are_known():
    known = owners(PAIR)
    rows = Bridge(desired("host-1", PAIR, numbers("host-1", PAIR))).rows.values()
    guard = next(row for row in rows if row.table == 5 and row.priority == 90)
    assert known[guard.cookie] in {("Nic", "nic-a1"), ("Nic", "nic-a2")}
    assert known[next(row for row in rows if row.table == 1 and row.priority == 90).cookie] == ("Network", "net-a")


def test_ten_thousand_packets_go_through_in_seconds():
    """About 20,000 a second on the machine that this was measured on; the bound leaves room for a busy one."""
    bridge, remembered = Bridge(desired("host-1", PAIR, numbers("host-1", PAIR))), Connections()
    packet, began = packet_of(THERE) | {"in_port": 10001}, time.process_time()
    for port in range(10000):
        assert bridge.run({**packet, "tp_src": port}, remembered).outputs
    assert time.process_time() - began < 10


def planted(chance: Random, lines: tuple[str, ...], wrong: str) -> tuple[str, ...]:
    """The flows with one of them gone, turned to a drop or to another table, or hidden by a foreign one above it."""
    match chance.randrange(3):
        case 0:
            return tuple(line for line in lines if line != wrong)
        case 1:
            head = wrong.partition("actions=")[0]
            return tuple(head + "actions=in_port" if line == wrong else line for line in lines)
        case _:
            row = row_of(wrong)
            match = wrong.partition(f"priority={row.priority}")[2].partition("actions=")[0]
            return (*lines, f"table={row.table},priority={row.priority + 1}{match or ','}actions=in_port")


def test_a_planted_wrong_flow_is_found_every_time():
    tried = 0
    for _, cloud, chance in clouds(900, 1600):
        for leg in (leg for _ in range(10) for leg in ask(chance, cloud).trail.legs):
            host = chance.choice([leg.sender.host_id, leg.receiver.host_id])
            view, own = leg.view, numbers(host, cloud.views)
            assert host in HOSTS
            wanted = desired(host, cloud.views, own)
            right = compare(wanted, wanted, own, view, leg.frame, leg.sender.id)
            assert right.difference == ""
            wrong = chance.choice(right.steps).line
            found = replace(wanted, flows=planted(chance, wanted.flows, wrong))
            assert compare(wanted, found, own, view, leg.frame, leg.sender.id).difference != "", wrong
            tried += 1
    assert tried > 200


def test_a_planted_wrong_flow_of_redundant_routers_or_of_a_device_is_found_every_time():
    """On the way to the gateway and from it, on all hosts, and on the line between the two routers."""
    tried, chance = 0, Random(77)
    for seen in ({host: pair_view(host) for host in HOSTS}, {host: cabled_view() for host in HOSTS}):
        one = seen["host-2"]
        gateway = next(nic for nic in one.nics if nic.role == "router")
        guests = [nic for nic in one.nics if nic.role == "guest"]
        ways = [way for guest in guests for way in ((guest, gateway, 6), (gateway, guest, 6))]
        ways += [(*one.pair, 112), (*one.pair[::-1], 112)] if one.pair else []
        for sender, receiver, protocol in ways:
            away = "203.0.113.9" if receiver is gateway else receiver.address
            source = "203.0.113.9" if sender is gateway else sender.address
            frame = Frame(sender.mac, receiver.mac, source, away, protocol, 50000, 22)
            for host in {sender.host_id, receiver.host_id}:
                view = seen[host]
                view = replace(view, nics=tuple(replace(nic, host_id=sender.host_id) if nic.id == sender.id else nic
                                                for nic in view.nics))  # fmt: skip
                own = stand_in(host, [seen[host]])
                wanted = desired(host, [seen[host]], own)
                right = compare(wanted, wanted, own, view, frame, sender.id)
                assert right.difference == ""
                arrives = right.nic_ids if host == receiver.host_id else right.host_ids
                assert (receiver.id if host == receiver.host_id else receiver.host_id) in arrives
                for wrong in (step.line for step in right.steps):
                    for _ in range(3):
                        found = replace(wanted, flows=planted(chance, wanted.flows, wrong))
                        assert compare(wanted, found, own, view, frame, sender.id).difference != "", wrong
                        tried += 1
    assert tried > 150


def cabled_view():
    """A gateway by a hardware device at host 2, as its cable's port is."""
    device = replace(nic("a", "router", "host-2", "router"), id="nic-device", mac="02:00:00:00:01:01")
    return network("a", 1001, [nic("a", "1", "host-1"), nic("a", "2", "host-2"), nic("a", "3", "host-3"), device])
