"""Health checks of a virtual router that runs: nothing is wrong with a whole one, and each fault is named."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from network.names import router_guest_device, router_namespace
from tests.unit.network.balancers import balancer
from tests.unit.network.lab import ROUTERS, end, inside, sh
from tests.unit.network.routers import OUTSIDE

pytestmark = pytest.mark.usefixtures("running")

NAMESPACE = router_namespace(ROUTERS["a"])


def _failed(site, spec=None):
    with inside(site.host.ns):
        found = site.element.check(spec or site.specs["a"])
    assert len({check.name for check in found}) == len(found)
    return {check.name: check.detail for check in found if not check.success}


def _public(site):
    """The router, whose public gateway is there."""
    spec = site.specs["a"]
    return replace(spec, public=replace(spec.public, gateway=OUTSIDE))


@pytest.fixture
def whole(site):
    spec = _public(site)
    site.apply(spec)
    assert _failed(site, spec) == {}
    yield spec
    site.apply(spec)
    assert _failed(site, spec) == {}
    site.apply(site.specs["a"])


def test_daemons_that_died_are_named(site, whole):
    daemons = site.daemons(ROUTERS["a"])
    end(daemons["dnsmasq"])
    end(daemons["metadata"])
    failed = _failed(site, whole)
    assert sorted(failed) == ["dhcp", "dns", "metadata"]
    assert failed["dhcp"].startswith("dnsmasq does not run")
    assert failed["dns"].startswith("The name server at 10.1.1.1 does not answer")
    assert "The server at 10.1.1.1, port 80, does not answer" in failed["metadata"]


def test_a_daemon_that_stands_still_is_found_out(site, whole):
    pid = site.daemons(ROUTERS["a"])["dnsmasq"]
    signal.pidfd_send_signal(handle := os.pidfd_open(pid), signal.SIGSTOP)
    try:
        assert list(_failed(site, whole)) == ["dns"]
    finally:
        signal.pidfd_send_signal(handle, signal.SIGCONT)


def test_rules_that_were_changed_by_hand_are_quoted(site, whole):
    inside_it = ("ip", "netns", "exec", NAMESPACE, "nft")
    sh(*inside_it, "add", "rule", "inet", "pileus", "input", "tcp", "dport", "22", "accept")
    assert _failed(site, whole) == {"firewall": "The packet rule 'tcp dport 22 accept' is there, and is not wanted."}
    sh(*inside_it, "flush", "chain", "inet", "pileus", "postrouting")
    assert "is missing" in _failed(site, whole)["firewall"]
    sh(*inside_it, "delete", "table", "inet", "pileus")
    assert _failed(site, whole) == {"firewall": "The packet rules are not there."}


def test_devices_and_addresses_that_are_lost_are_named(site, whole):
    sh("ip", "-n", NAMESPACE, "address", "flush", "dev", "eth1")
    sh("ip", "-n", site.host.ns, "link", "set", router_guest_device(whole.legs[0].nic.id), "down")
    told = _failed(site, whole)["interfaces"]
    assert "The device eth1 has not the address 198.51.100.10/24." in told
    assert f"The device {router_guest_device(whole.legs[0].nic.id)} is down." in told
    sh("ip", "-n", site.host.ns, "link", "set", router_guest_device(whole.legs[0].nic.id), "up")


def test_a_gateway_that_is_silent_is_named(site, whole):
    silent = replace(whole, public=replace(whole.public, gateway="198.51.100.253"))
    site.apply(silent)
    assert _failed(site, silent) == {"gateway": "The gateway 198.51.100.253 does not answer ARP on eth1."}


def test_a_balancer_that_died_or_has_another_configuration_is_told(site, whole):
    balanced = replace(whole, balancers=(balancer("198.51.100.10"),))
    site.apply(balanced)
    assert _failed(site, balanced) == {}
    conf = Path(site.lab.dir / "routers" / "routers" / NAMESPACE / "haproxy.cfg")
    before = conf.read_text()
    conf.write_text(before + "\n")
    assert _failed(site, balanced)["balancer"] == "The configuration of haproxy is not the one that is wanted."
    conf.write_text(before)
    while "haproxy" in (daemons := site.daemons(ROUTERS["a"])):
        end(daemons["haproxy"])
    assert _failed(site, balanced) == {"balancer": "haproxy does not run."}


def test_a_router_that_is_not_there_is_told(site, whole):
    site.remove(ROUTERS["a"])
    assert _failed(site, whole) == {"interfaces": "The router's namespace is not there."}
