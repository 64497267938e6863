"""What a virtual router serves to real clients: DHCP, DNS, metadata and passwords, through the fabric."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest

from network.names import router_namespace
from tests.unit.network.lab import ROUTERS, end, inside, reaches, sh
from tests.unit.network.routers import OUTSIDE, lease, revised
from tests.unit.network.sites import PUBLIC
from tests.unit.network.views import nic

pytestmark = pytest.mark.usefixtures("running")


@pytest.mark.parametrize(("guest", "options"), [("a1", ()), ("a2", ("-B",)), ("b1", ())])
def test_a_real_client_gets_its_lease(site, guest, options):
    """With -B the client asks to be answered by broadcast."""
    said = site.ask_dhcp(guest, *options)
    tenant, number = guest
    assert f"event=bound ip=10.1.1.1{number} mask=24 router=10.1.1.1 dns=10.1.1.1 mtu=1458" in said
    assert f"domain={tenant}.example hostname=host{number}" in said
    assert "routes=169.254.169.254/32 10.1.1.1 0.0.0.0/0 10.1.1.1" in said
    assert reaches(site.guests[guest], "10.1.1.1")


def test_a_guest_that_leaves_by_another_nic_gets_no_default_route(site):
    first, *others = site.specs["a"].legs[0].leases
    site.apply(revised(site.specs["a"], leases=(replace(first, leads_out=False), *others)))
    said = site.ask_dhcp("a1")
    assert "event=bound ip=10.1.1.11 mask=24 router= dns=10.1.1.1" in said
    assert "routes=169.254.169.254/32 10.1.1.1\n" in said
    assert "0.0.0.0/0 10.1.1.1" in site.ask_dhcp("a2")


def test_a_client_that_is_not_in_the_wanted_state_gets_nothing(site):
    site.apply(revised(site.specs["a"], leases=site.specs["a"].legs[0].leases[1:]))
    assert "event=bound" not in site.ask_dhcp("a1", "-t", "2", "-T", "1")
    assert "event=bound" in site.ask_dhcp("a2")


def test_an_address_goes_on_to_the_next_guest(site):
    """Although dnsmasq still holds a lease of the first one for hours."""
    first = site.specs["a"].legs[0].leases[0]
    assert "event=bound ip=10.1.1.11" in site.ask_dhcp("a1")
    heir = lease("a", replace(nic("a", "2", "host-2"), address=first.address))
    site.apply(revised(site.specs["a"], leases=(heir,)))
    assert f"ip={first.address} " in site.ask_dhcp("a2")


def test_names_resolve_both_ways_within_the_tenant(site, addressed):
    assert "Address: 10.1.1.12" in site.look_up("a1", "host2.a.example")
    assert "Address: 10.1.1.1" in site.look_up("a1", "data-server.a.example")
    assert "name = host2.a.example" in site.look_up("a1", "10.1.1.12")
    site.apply(revised(site.specs["b"], nameservers=()))
    assert "Address: 10.1.1.12" in site.look_up("b1", "host2.b.example")
    assert "Address: 10.1.1.12" not in site.look_up("b1", "host2.a.example")


def test_other_names_are_asked_from_the_nameserver(site, addressed):
    with inside(PUBLIC):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((OUTSIDE, 53))
    server.settimeout(5)
    asked = threading.Thread(target=site.look_up, args=("a1", "www.elsewhere.example"))
    asked.start()
    while asked.is_alive():
        question, source = server.recvfrom(512)
        assert b"elsewhere" in question
        assert source[0] == "198.51.100.10"
        server.sendto(question[:2] + b"\x81\x83" + question[4:], source)  # no such name
        asked.join(0.2)
    server.close()


def test_metadata_is_by_source_address(site, addressed):
    base = "http://169.254.169.254/latest/meta-data"
    assert site.fetch("a1", f"{base}/instance-id") == "200 vm-a1"
    assert site.fetch("b1", f"{base}/instance-id") == "200 vm-b1"
    assert site.fetch("a2", "http://10.1.1.1/1.0/meta-data/vm-id") == "200 vm-a2"
    headers = ("-H", "X-Forwarded-For: 10.1.1.12", "-H", "X-Instance-ID: vm-a2", "-H", "Forwarded: for=10.1.1.12")
    assert site.fetch("a1", f"{base}/instance-id", *headers) == "200 vm-a1"


def test_metadata_comes_also_while_the_router_has_forgotten_its_neighbours(site, addressed):
    """It must not ask for them by ARP from the metadata address, which the switch would take for forged."""
    sh("ip", "-n", router_namespace(ROUTERS["a"]), "neigh", "flush", "dev", "eth0")
    assert site.fetch("a1", "http://169.254.169.254/latest/meta-data/vm-id") == "200 vm-a1"


def test_metadata_has_cloudstacks_layout(site, addressed):
    base = "http://169.254.169.254"
    values = {
        "availability-zone": "zone one",
        "cloud-identifier": "CloudStack-{net-a}",
        "instance-id": "vm-a1",
        "local-hostname": "host1",
        "local-ipv4": "10.1.1.11",
        "public-hostname": "198.51.100.10",
        "public-ipv4": "198.51.100.10",
        "public-keys": "key 1\nkey 2",
        "service-offering": "",
        "vm-id": "vm-a1",
    }
    assert site.fetch("a1", f"{base}/latest/meta-data/").split() == ["200", *values]
    for name, value in values.items():
        assert site.fetch("a1", f"{base}/latest/meta-data/{name}") == f"200 {value}"
    assert site.fetch("a1", f"{base}/latest/user-data") == "200 #!/bin/sh\necho a1\n"
    assert site.fetch("a1", f"{base}/latest/").split() == ["200", "meta-data", "user-data"]
    assert site.fetch("a1", f"{base}/").split() == ["200", "latest"]
    assert site.fetch("a1", f"{base}/latest/meta-data/none").startswith("404")
    assert site.fetch("a1", f"{base}/latest/meta-data/../../metadata.json", "--path-as-is").startswith("404")


def test_metadata_follows_the_wanted_state_without_a_restart(site, addressed):
    before = site.daemons(ROUTERS["a"])
    first, *others = site.specs["a"].legs[0].leases
    site.apply(revised(site.specs["a"], leases=(replace(first, vm_id="vm-new"), *others)))
    assert site.fetch("a1", "http://10.1.1.1/latest/meta-data/vm-id") == "200 vm-new"
    site.apply(revised(site.specs["a"], leases=tuple(others)))
    assert site.fetch("a1", "http://10.1.1.1/latest/meta-data/vm-id").startswith("404")
    assert site.daemons(ROUTERS["a"]) == before


def test_a_password_is_given_until_the_guest_has_saved_it(site, addressed):
    assert site.password("a1", "send_my_password") == "200 secret-a1"
    assert site.password("a1", "send_my_password") == "200 secret-a1"
    assert site.password("a1", "anything") == "200 bad_request"
    assert site.fetch("a1", "http://10.1.1.1:8080/") == "200 bad_request"
    assert site.password("a1", "saved_password") == "200 saved_password"
    assert site.password("a1", "send_my_password") == "200 saved_password"
    assert site.password("a2", "send_my_password") == "200 secret-a2"
    end(site.daemons(ROUTERS["a"])["metadata"])
    site.apply(site.specs["a"])
    assert site.password("a1", "send_my_password") == "200 saved_password"
    first, *others = site.specs["a"].legs[0].leases
    site.apply(revised(site.specs["a"], leases=(replace(first, password="the next"), *others)))
    assert site.password("a1", "send_my_password") == "200 the next"


@pytest.mark.parametrize(
    ("tool", "address", "code", "told"),
    [
        ("ping", "10.1.1.11", 0, "2 packets transmitted, 2 received"),
        ("arping", "10.1.1.11", 0, "Received 2 response(s)"),
        ("traceroute", "10.1.1.11", 0, "10.1.1.11"),
        ("ping", "10.1.1.250", 1, "0 received"),
    ],
)
def test_tools_run_in_the_router_for_administrators(site, addressed, tool, address, code, told):
    options = {"ping": ("-c", "2", "-W", "3"), "arping": ("-c", "2"), "traceroute": ("-m", "3")}[tool]
    said = site.element.diagnose(ROUTERS["a"], tool, address, options)
    assert (said.exit_code, told in said.stdout) == (code, True), said


@pytest.mark.usefixtures("running", "addressed")
def test_metadata_are_those_of_the_guest_that_asks_whatever_its_headers_say(site):
    """S-26: who asks is known by the port of the switch, and equal addresses of another tenant are no way to him."""
    names = ("X-Forwarded-For", "X-Real-IP", "X-Instance-ID", "X-Instance-ID-Signature", "X-Tenant-ID", "Forwarded",
             "X-Client-IP", "X-Project-ID")  # fmt: skip
    for guest in ("a1", "a2", "b1"):
        for claimed in ("10.1.1.11", "10.1.1.12", "vm-b1", "vm-a1"):
            forged = [word for name in names for word in ("-H", f"{name}: {claimed}")]
            for host in ("169.254.169.254", "10.1.1.1"):
                said = site.fetch(guest, f"http://{host}/latest/meta-data/vm-id", *forged, "-H", f"Host: {claimed}")
                assert said == f"200 vm-{guest}"
