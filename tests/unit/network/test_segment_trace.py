"""Networks that are VLANs, without packets: the model of them against their flows, and what one host's flows tell."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from network.flow_trace.installed import compare
from network.flows import FlowSet, desired
from network.reachability.values import Place, Probe
from network.reachability.walk import from_nic, from_outside_to
from network.types import Policy, PolicyRule, Traffic
from tests.unit.network.test_reachability import QUESTIONS, ask, clouds, faults
from tests.unit.network.views import network, nic, numbers
from tests.unit.network.worlds import World

TRUNK = "br-phy"
OUTSIDE = "10.1.1.254"
GROUP = Policy("web", (
    PolicyRule("out", "egress", Traffic("all", destinations=("10.1.1.0/24",))),
    PolicyRule("http", "ingress", Traffic("tcp", 80, 80, sources=(f"{OUTSIDE}/32",))),
))  # fmt: skip


def in_vlans(cloud: World, chance: Random) -> World:
    """The same networks, of which some are VLANs by now; two trunks may have one of the same number."""
    places = [
        replace(place, view=replace(place.view, overlay="vlan", key=100 + number // 2, trunk=f"br-{number % 2}"))
        if chance.random() < 0.7
        else place
        for number, place in enumerate(cloud.places)
    ]
    return World(places)


def test_the_model_says_what_the_flows_of_vlans_do():
    for seed, made, chance in clouds(9000, 600):
        cloud = in_vlans(made, chance)
        for _ in range(QUESTIONS):
            case = ask(chance, cloud)
            assert not faults(cloud, case), f"cloud {seed}: {case}"


@pytest.fixture
def place() -> Place:
    nics = [replace(nic("a", last, f"host-{last}"), groups=("web",)) for last in ("1", "2")]
    view = network("a", 0, nics, overlay="vlan", trunk=TRUNK, is_flat=True, gateway_outside=True, has_groups=True,
                   groups=(GROUP,))  # fmt: skip
    return Place(replace(view, gateway=OUTSIDE))


@pytest.mark.parametrize(("target", "reachable"), [(OUTSIDE, True), ("10.1.1.77", True), ("198.51.100.1", False)])
def test_a_guest_leaves_for_the_outside_as_its_groups_allow(place, target, reachable):
    trail = from_nic([place], "nic-a1", Probe("10.1.1.11", target, 17, 53))
    assert trail.reachable == reachable
    facts = told(place, trail, "host-1")
    assert facts.difference == ""
    assert facts.host_ids == facts.wanted_host_ids == (("trunk/br-phy",) if reachable else ())


@pytest.mark.parametrize(("port", "reachable"), [(80, True), (81, False)])
def test_the_outside_reaches_what_groups_allow(place, port, reachable):
    trail = from_outside_to([place], "nic-a2", Probe(OUTSIDE, "10.1.1.12", 6, port))
    assert trail.reachable == reachable
    assert told(place, trail, "host-2").nic_ids == (("nic-a2",) if reachable else ())


def test_a_flow_that_is_missing_is_told(place):
    trail = from_outside_to([place], "nic-a2", Probe(OUTSIDE, "10.1.1.12", 6, 80))
    facts = told(place, trail, "host-2", without="table=0,priority=90,ip,")
    assert facts.difference.startswith("Table 0 lacks the flow")


def test_two_hosts_send_each_other_by_the_trunk(place):
    closed = replace(place, view=replace(place.view, key=101, is_flat=False, has_groups=False, groups=()))
    trail = from_nic([closed], "nic-a1", Probe("10.1.1.11", "10.1.1.12", 17, 53))
    assert [step.what for step in trail.steps if step.where == "network"] == ["trunk"]
    assert told(closed, trail, "host-1").host_ids == ("host-2",)
    assert told(closed, trail, "host-2").nic_ids == ("nic-a2",)


def told(place: Place, trail, host: str, without: str = "nothing"):
    """What the host's flows do with the frame of the trail's only leg, one of them taken away."""
    (leg,) = trail.legs
    known = numbers(host, [place.view])
    wanted = desired(host, [place.view], known)
    found = FlowSet(tuple(line for line in wanted.flows if without not in line), wanted.groups, wanted.meters)
    return compare(wanted, found, known, place.view, leg.frame, leg.sender.id)
