"""Load balancing with real connections through an emulated NetScaler."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from network.balancing import Balancer, Certificate, HealthCheck, Member, Stickiness
from network.hardware import BalancedNetwork
from network.types import Opening, Traffic
from tests.unit.network.lab import PREFIX, inside, sh, sweep
from tests.unit.network.netscaler_lab import emulated
from tests.unit.network.sites import PUBLIC
from tests.unit.network.test_srx_packets import wire
from tests.unit.network.views import MACS

DEVICE, WIRES = f"{PREFIX}-ns", f"{PREFIX}-nswires"
OUTSIDE, OTHER, VIP, NEIGHBOURS = "198.51.100.1", "198.51.100.200", "198.51.100.31", "198.51.100.32"
GUESTS = {"1": "10.1.1.11", "2": "10.1.1.12"}
ALL = (Opening(VIP, Traffic("tcp", 1, 65535)),)
FAST = HealthCheck("/alive", interval=1, timeout=1, unhealthy=2, healthy=1)
WEB = Balancer("lb-web", VIP, 80, 8080, members=tuple(Member(n, a) for n, a in GUESTS.items()), check=FAST)
NETWORK = BalancedNetwork("net-a", 100, "10.1.1.2", "10.1.1.0/24", (WEB,), ALL)
NEIGHBOUR = replace(NETWORK, id="net-b", vlan=200, balancers=(replace(WEB, id="lb-b", address=NEIGHBOURS),),
                    openings=(replace(ALL[0], address=NEIGHBOURS),))  # fmt: skip
VLANS = {"": 100, "b": 200}
"""By what the names of the tenant's guests begin with: two tenants have guests of the same addresses."""


@pytest.fixture(scope="module")
def device():
    sweep()
    guests = {f"{tenant}{name}": f"{PREFIX}-ns{tenant}{name}" for tenant in VLANS for name in GUESTS}
    try:
        for ns in (DEVICE, WIRES, PUBLIC, *guests.values()):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        wire(DEVICE, "public", PUBLIC, "eth0")
        for address in (OUTSIDE, OTHER):
            sh("ip", "-n", PUBLIC, "address", "add", f"{address}/24", "dev", "eth0")
        for vlan in VLANS.values():
            sh("ip", "-n", WIRES, "link", "add", f"br{vlan}", "type", "bridge")
            sh("ip", "-n", WIRES, "link", "set", f"br{vlan}", "up")
            wire(DEVICE, f"vlan{vlan}", WIRES, f"ns{vlan}")
            sh("ip", "-n", WIRES, "link", "set", f"ns{vlan}", "master", f"br{vlan}")
        for name, ns in guests.items():
            wire(ns, "eth0", WIRES, f"g{name}", MACS[name[-1]])
            sh("ip", "-n", WIRES, "link", "set", f"g{name}", "master", f"br{VLANS[name[:-1]]}")
            sh("ip", "-n", ns, "address", "add", f"{GUESTS[name[-1]]}/24", "dev", "eth0")
        with emulated(DEVICE) as built:
            # The device's own leg on the public network.
            with inside(DEVICE), built.conversation() as nitro:
                nitro.add("nsip", {"ipaddress": "198.51.100.2", "netmask": "255.255.255.0", "type": "SNIP"})
            yield built
    finally:
        sweep()


class Named(BaseHTTPRequestHandler):
    """Tells the guest's name, and sets the application's cookie when it is asked for one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = self.server.guest.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if self.path == "/login":
            self.send_header("Set-Cookie", f"APP=session-of-{self.server.guest}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


class Webs:
    """A web server in each guest."""

    def __init__(self) -> None:
        self.running: dict[str, tuple[ThreadingHTTPServer, threading.Thread]] = {}

    def start(self, name: str) -> None:
        with inside(f"{PREFIX}-ns{name}"):
            server = ThreadingHTTPServer(("", 8080), Named)
        server.guest = name
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.running[name] = server, thread

    def stop(self, name: str) -> None:
        server, thread = self.running.pop(name)
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def guests(device):
    webs = Webs()
    for tenant in VLANS:
        for name in GUESTS:
            webs.start(f"{tenant}{name}")
    yield webs
    for name in list(webs.running):
        webs.stop(name)


def apply(device, network: BalancedNetwork) -> None:
    with inside(DEVICE):
        device.element.apply(network)


def fetch(url: str, *options: str) -> str:
    """What is answered; '' when nothing is."""
    return sh("ip", "netns", "exec", PUBLIC, "curl", "-s", "-m", "2", *options, url, check=False)


def spread(url: str, *options: str, count: int = 6) -> Counter[str]:
    return Counter(fetch(url, *options) for _ in range(count))


def soon(holds: Callable[[], bool], within: float = 30.0) -> bool:
    """Whether it holds at last: members are watched once a second."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.2)
    return False


def health(device) -> tuple[str, str]:
    with inside(DEVICE):
        counted = device.element.statistics(NETWORK.id, WEB.id)
    return counted["state"], counted["vslbhealth"]


def test_connections_are_spread_and_closed_ports_stay_closed(device, guests):
    apply(device, NETWORK)
    assert spread(f"http://{VIP}/") == {"1": 3, "2": 3}
    assert fetch(f"http://{VIP}:8080/") == ""
    apply(device, replace(NETWORK, openings=()))
    assert fetch(f"http://{VIP}/") == ""


def test_only_opened_sources_are_served(device, guests):
    narrow = (Opening(VIP, Traffic("tcp", 80, 80, sources=(f"{OTHER}/32",))),)
    apply(device, replace(NETWORK, openings=narrow))
    assert fetch(f"http://{VIP}/") == ""
    assert fetch(f"http://{VIP}/", "--interface", OTHER) in GUESTS
    own = replace(WEB, sources=(f"{OUTSIDE}/32",))
    apply(device, replace(NETWORK, balancers=(own,)))
    assert fetch(f"http://{VIP}/") in GUESTS
    assert fetch(f"http://{VIP}/", "--interface", OTHER) == ""


def test_a_client_comes_back_by_its_address(device, guests):
    apply(device, replace(NETWORK, balancers=(replace(WEB, stickiness=Stickiness("SourceBased")),)))
    assert list(spread(f"http://{VIP}/").values()) == [6]


def test_a_client_comes_back_by_the_balancers_cookie(device, guests, tmp_path):
    apply(device, replace(NETWORK, balancers=(replace(WEB, stickiness=Stickiness("LbCookie", "SRV")),)))
    jar = str(tmp_path / "jar")
    assert len(spread(f"http://{VIP}/", "-b", jar, "-c", jar)) == 1
    assert len(spread(f"http://{VIP}/")) == 2


def test_a_client_comes_back_by_the_applications_cookie(device, guests, tmp_path):
    apply(device, replace(NETWORK, balancers=(replace(WEB, stickiness=Stickiness("AppCookie", "APP")),)))
    jar = str(tmp_path / "jar")
    first = fetch(f"http://{VIP}/login", "-c", jar)
    assert spread(f"http://{VIP}/", "-b", jar) == {first: 6}


def test_a_dead_member_gets_nothing_until_it_answers_again(device, guests):
    apply(device, NETWORK)
    assert soon(lambda: health(device) == ("UP", "100"))
    guests.stop("2")
    assert soon(lambda: health(device) == ("UP", "50"))
    assert set(spread(f"http://{VIP}/")) == {"1"}
    # A change must not bring the dead one back.
    apply(device, replace(NETWORK, balancers=(WEB, replace(WEB, id="lb-2", port=81))))
    assert health(device) == ("UP", "50")
    guests.start("2")
    assert soon(lambda: health(device) == ("UP", "100"))
    assert set(spread(f"http://{VIP}/")) == {"1", "2"}


def test_a_connection_outlives_changes_of_others(device, guests):
    apply(device, NETWORK)
    with inside(PUBLIC), closing(socket.create_connection((VIP, 80), 3)) as client:
        request = f"GET / HTTP/1.1\r\nHost: {VIP}\r\n\r\n".encode()
        client.sendall(request)
        first = client.recv(4096)[-1:]
        apply(device, replace(NETWORK, balancers=(WEB, replace(WEB, id="lb-2", port=81))))
        client.sendall(request)
        assert client.recv(4096)[-1:] == first


def test_requests_are_counted(device, guests):
    apply(device, NETWORK)
    with inside(DEVICE):
        before = device.element.statistics(NETWORK.id, WEB.id)
        assert sum(spread(f"http://{VIP}/", count=3).values()) == 3
        after = device.element.statistics(NETWORK.id, WEB.id)
    assert int(after["tothits"]) - int(before["tothits"]) == 3
    assert int(after["totalresponsebytes"]) > int(before["totalresponsebytes"])


def signed(name: str) -> Certificate:
    key, subject, now = ec.generate_private_key(ec.SECP256R1()), x509.NameAttribute, datetime.now(UTC)
    names = x509.Name([subject(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(names, names, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain).decode()
    return Certificate(name, made.sign(key, hashes.SHA256()).public_bytes(pem).decode(), private)


def test_tls_ends_at_the_balancer_with_the_certificate_of_the_moment(device, guests, tmp_path):
    ports = ("--resolve", f"shop.test:443:{VIP}", "--cacert", str(tmp_path / "ca.pem"))
    for _ in range(2):
        certificate = signed("shop.test")
        (tmp_path / "ca.pem").write_text(certificate.certificate)
        secure = replace(WEB, id="lb-tls", port=443, protocol="ssl", certificate=certificate)
        apply(device, replace(NETWORK, balancers=(secure,)))
        assert soon(lambda: spread("https://shop.test/", *ports) == {"1": 3, "2": 3})


def test_equal_addresses_of_two_tenants_do_not_meet(device, guests):
    apply(device, NETWORK)
    apply(device, NEIGHBOUR)
    try:
        for address, own in ((VIP, {"1", "2"}), (NEIGHBOURS, {"b1", "b2"})):
            assert soon(lambda own=own, address=address: set(spread(f"http://{address}/", count=4)) == own)
        # What is amiss at one tenant's member is nothing to the other's of the same address.
        guests.stop("b2")
        assert soon(lambda: set(spread(f"http://{NEIGHBOURS}/")) == {"b1"})
        assert set(spread(f"http://{VIP}/")) == {"1", "2"}
        guests.start("b2")
        shown = [json.loads(sh("ip", "-n", DEVICE, "-json", "address"))]
        assert not [one for link in shown[0] for one in link["addr_info"] if one["local"] == NETWORK.address]
        with inside(DEVICE):
            device.element.remove(NETWORK.id)
        assert fetch(f"http://{VIP}/") == ""
        assert soon(lambda: set(spread(f"http://{NEIGHBOURS}/", count=4)) == {"b1", "b2"})
    finally:
        with inside(DEVICE):
            device.element.remove(NEIGHBOUR.id)
    assert fetch(f"http://{NEIGHBOURS}/") == ""
    links = {link["ifname"] for link in json.loads(sh("ip", "-n", DEVICE, "-json", "link"))}
    assert {"vlan100", "vlan200"} <= links


def test_nothing_answers_after_removal(device, guests):
    apply(device, NETWORK)
    with inside(DEVICE):
        device.element.remove(NETWORK.id)
        assert device.element.list() == []
    assert fetch(f"http://{VIP}/") == ""
    assert VIP not in sh("ip", "-n", DEVICE, "address")
