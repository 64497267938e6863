"""Load balancing with real connections through an emulated NetScaler: as by a router, and what only a device has."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from network.balancing import Balancer, Certificate, HealthCheck
from network.hardware import BalancedNetwork
from network.types import Opening
from tests.unit.network.balanced import (  # noqa: F401 - run here over this module's device
    FIRST,
    PORT,
    SECOND,
    TWO,
    ask,
    names,
    opened,
    soon,
    test_a_dead_guest_is_left_out_within_seconds_and_comes_back,
    test_a_guest_that_answers_wrongly_is_left_out,
    test_a_source_keeps_its_guest,
    test_connections_survive_changes_and_end_with_their_rule,
    test_cookies_of_guests_and_addresses_lead_back_also_after_a_change,
    test_guests_are_told_who_asks,
    test_no_connection_is_refused_while_it_changes,
    test_only_sources_of_the_rule_and_openings_of_the_address_come_in,
    test_round_robin_takes_turns,
    test_the_balancers_cookie_leads_back_also_after_a_change,
    test_the_guest_with_fewest_connections_is_next,
    test_tls_ends_at_the_balancer,
    web,
)
from tests.unit.network.balancers import balancer, issue, key_pem, pem
from tests.unit.network.lab import PREFIX, inside, sh, sweep
from tests.unit.network.netscaler_lab import EmulatedNetscaler, emulated
from tests.unit.network.routers import OUTSIDE
from tests.unit.network.sites import PUBLIC
from tests.unit.network.test_srx_packets import wire
from tests.unit.network.views import MACS

DEVICE, WIRES = f"{PREFIX}-ns", f"{PREFIX}-nswires"
NEIGHBOURS = "198.51.100.33"
VLANS = {"a": 100, "b": 200}
GUESTS = ("a1", "a2", "b1", "b2")
"""Two tenants with guests of the same addresses."""
NETWORK = BalancedNetwork("net-a", VLANS["a"], "10.1.1.2", "10.1.1.0/24")


@dataclass
class Platinum:
    device: EmulatedNetscaler
    guests: dict[str, str]

    def change(self, *balancers: Balancer, openings: tuple[Opening, ...] | None = None) -> None:
        self.apply(replace(NETWORK, balancers=balancers, openings=opened(balancers, openings)))

    def apply(self, network: BalancedNetwork) -> None:
        # Connections are made from the namespace of the device.
        with inside(DEVICE):
            self.device.element.apply(network)

    def remove(self, network_id: str) -> None:
        with inside(DEVICE):
            self.device.element.remove(network_id)

    def statistics(self) -> dict[str, str]:
        with inside(DEVICE):
            return self.device.element.statistics(NETWORK.id, TWO.id)

    def dead(self) -> int:
        return int(self.statistics()["inactsvcs"])


@pytest.fixture(scope="module")
def balanced():
    """Each VLAN is a bridge, and a device of its own at the NetScaler."""
    sweep()
    guests = {name: f"{PREFIX}-ns{name}" for name in GUESTS}
    try:
        for ns in (DEVICE, WIRES, PUBLIC, *guests.values()):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        wire(DEVICE, "public", PUBLIC, "eth0")
        sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
        for tenant, vlan in VLANS.items():
            sh("ip", "-n", WIRES, "link", "add", f"br{vlan}", "type", "bridge")
            sh("ip", "-n", WIRES, "link", "set", f"br{vlan}", "up")
            wire(DEVICE, f"vlan{vlan}", WIRES, f"ns{vlan}")
            sh("ip", "-n", WIRES, "link", "set", f"ns{vlan}", "master", f"br{vlan}")
            for name in (name for name in GUESTS if name[0] == tenant):
                wire(guests[name], "eth0", WIRES, name, MACS[name[1]])
                sh("ip", "-n", WIRES, "link", "set", name, "master", f"br{vlan}")
                sh("ip", "-n", guests[name], "address", "add", f"10.1.1.1{name[1]}/24", "dev", "eth0")
        with emulated(DEVICE) as device:
            # The device's own leg on the public network.
            with inside(DEVICE), device.conversation() as nitro:
                nitro.add("nsip", {"ipaddress": "198.51.100.2", "netmask": "255.255.255.0", "type": "SNIP"})
            yield Platinum(device, guests)
    finally:
        sweep()


@pytest.fixture
def webs(balanced):
    with web(balanced.guests["a1"], "a1"), web(balanced.guests["a2"], "a2"):
        yield


def test_requests_are_counted(balanced, webs):
    balanced.change(TWO)
    before = balanced.statistics()
    assert sum(names(3).values()) == 3
    after = balanced.statistics()
    assert int(after["tothits"]) - int(before["tothits"]) == 3
    assert int(after["totalresponsebytes"]) > int(before["totalresponsebytes"])
    assert (after["state"], after["vslbhealth"]) == ("UP", "100")


def test_another_certificate_is_shown_from_then_on(balanced, webs, tmp_path):
    for number in range(2):
        own = issue("shop.test")
        certificate = Certificate(f"c-{number}", pem(own[0]), key_pem(own[1]))
        (tmp_path / "ca.pem").write_text(certificate.certificate)
        balanced.change(replace(TWO, port=443, protocol="ssl", certificate=certificate))
        line = ("--resolve", f"shop.test:443:{FIRST}", "--cacert", str(tmp_path / "ca.pem"), "https://shop.test/")
        soon(lambda line=line: sh("ip", "netns", "exec", PUBLIC, "curl", "-s", *line, check=False)[:1], "a")


def test_equal_addresses_of_two_tenants_do_not_meet(balanced, webs):
    own, theirs = balancer(FIRST), replace(balancer(NEIGHBOURS), id="balancer-b", check=HealthCheck("", 1, 1, 1, 1))
    neighbour = replace(NETWORK, id="net-b", vlan=VLANS["b"], balancers=(theirs,), openings=opened((theirs,), None))
    balanced.change(own)
    balanced.apply(neighbour)
    try:
        with ExitStack() as open_ones:
            open_ones.enter_context(web(balanced.guests["b1"], "b1"))
            with web(balanced.guests["b2"], "b2"):
                soon(lambda: names(4, address=NEIGHBOURS), {"b1": 2, "b2": 2})
                assert names(4) == {"a1": 2, "a2": 2}
            # What is amiss at one tenant's guest is nothing to the other's of the same address.
            soon(lambda: names(4, address=NEIGHBOURS), {"b1": 4})
            assert names(4) == {"a1": 2, "a2": 2}
            assert "10.1.1." not in sh("ip", "-n", DEVICE, "address")
            balanced.remove(NETWORK.id)
            assert ask(FIRST, PORT, "-m", "1") == [""]
            assert names(4, address=NEIGHBOURS) == {"b1": 4}
    finally:
        balanced.remove(neighbour.id)
    assert ask(NEIGHBOURS, PORT, "-m", "1") == [""]
    # What the traffic domains held is where it was cabled.
    assert {"vlan100", "vlan200"} <= {link["ifname"] for link in json.loads(sh("ip", "-n", DEVICE, "-j", "link"))}


def test_nothing_answers_after_removal(balanced, webs):
    balanced.change(TWO, balancer(SECOND, id="balancer-2"))
    balanced.remove(NETWORK.id)
    with inside(DEVICE):
        assert balanced.device.element.list() == []
    assert ask(FIRST, PORT, "-m", "1") == [""]
    shown = sh("ip", "-n", DEVICE, "address")
    assert [address for address in (FIRST, SECOND) if address in shown] == []
