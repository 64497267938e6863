"""A pair of redundant routers on two hosts, a guest on a third and one beside a router, and a host outside."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.types import Forwarding, NetworkView, NicView, Opening, Pair, Peer, RouterSpec, Traffic
from tests.unit.network.lab import PREFIX, ROUTERS, Lab, inside, sh
from tests.unit.network.routers import OUTSIDE, router
from tests.unit.network.views import network, nic

PUBLIC, SWITCH = f"{PREFIX}-outside", f"{PREFIX}-public"
OWN = "198.51.100.10"
HOSTS = {"first": "host-3", "second": "host-2"}
IDS = {"first": ROUTERS["a"], "second": ROUTERS["b"]}
ENDS = tuple(
    NicView(f"pair-{name}", f"02:00:00:00:05:0{number}", f"169.254.251.{number}", HOSTS[name], "router")
    for number, name in enumerate(HOSTS, 1)
)


@dataclass
class PairSite:
    lab: Lab
    elements: dict[str, VirtualRouter]
    specs: dict[str, RouterSpec]
    guests: dict[str, str]
    gateway: NicView
    others: list[NicView]

    def host(self, half: str):
        return self.lab.host(HOSTS[half])

    def apply(self, half: str) -> None:
        host = self.host(half)
        with inside(host.ns):
            self.elements[half].apply(self.specs[half])
            host.switch.apply([self.view(host.id)])
            self.elements[half].join(self.specs[half])

    def remove(self, half: str) -> None:
        with inside(self.host(half).ns):
            self.elements[half].remove(IDS[half])

    def tell(self) -> None:
        """The views of all hosts; each router's host sees its own router as the one, the other as the copy."""
        for host in self.lab.hosts:
            with inside(host.ns):
                host.switch.apply([self.view(host.id)])

    def view(self, host_id: str) -> NetworkView:
        one, other = (HOSTS["second"], HOSTS["first"]) if host_id == HOSTS["second"] else HOSTS.values()
        gateway = replace(self.gateway, host_id=one, also_on=(other,))
        peers = tuple(Peer(host.id, host.address) for host in self.lab.hosts if host.id != host_id)
        return replace(network("a", 1001, [*self.others, gateway]), pair=ENDS, peers=peers)

    def roles(self) -> list[str | None]:
        return [self.elements[half].role(IDS[half]) for half in HOSTS]

    def become(self, *roles: str | None, within: float = 30.0) -> bool:
        deadline = time.monotonic() + within
        while self.roles() != list(roles) and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.roles() == list(roles)


def build_public(lab: Lab) -> None:
    """The public network, which both hosts of routers are on, and somebody outside."""
    lab.add_namespace(PUBLIC)
    lab.add_namespace(SWITCH)
    sh("ip", "-n", SWITCH, "link", "add", "br0", "type", "bridge")
    sh("ip", "-n", SWITCH, "link", "set", "br0", "up")
    for number, (namespace, device) in enumerate(
        [(PUBLIC, "eth0"), *((lab.host(h).ns, "public") for h in HOSTS.values())]
    ):
        line = ("link", "add", f"p{number}", "type", "veth", "peer", "name", device, "netns", namespace)
        sh("ip", "-n", SWITCH, *line)
        sh("ip", "-n", SWITCH, "link", "set", f"p{number}", "master", "br0", "up")
        if namespace != PUBLIC:
            sh("ip", "-n", namespace, "link", "add", "br-public", "type", "bridge")
            sh("ip", "-n", namespace, "link", "set", "br-public", "up")
            sh("ip", "-n", namespace, "link", "set", device, "master", "br-public", "up")
    sh("ip", "-n", PUBLIC, "link", "set", "eth0", "up")
    sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")


def build(lab: Lab) -> PairSite:
    build_public(lab)
    others = [nic("a", "1", "host-1"), nic("a", "2", "host-2")]
    options = {
        "forwardings": (Forwarding(OWN, "tcp", 2222, 2222, "10.1.1.11", 22),),
        "openings": (Opening(OWN, Traffic("tcp", 2222, 2222)),),
    }
    specs, elements = {}, {}
    for number, half in enumerate(HOSTS):
        plain = router("a", others, **options)
        leg = replace(plain.legs[0], nic=replace(plain.legs[0].nic, host_id=HOSTS[half]))
        own = Pair(ENDS[number], ENDS[1 - number], 100 - number)
        specs[half] = replace(plain, id=IDS[half], legs=(leg,), pair=own)
        settings = VirtualRouterSettings(lab.dir / f"routers-{half}")
        elements[half] = VirtualRouter(settings, lab.host(HOSTS[half]).switch)
    guests = {one.id[4:]: lab.add_guest(one.id[4:], one, gateway="10.1.1.1") for one in others}
    return PairSite(lab, elements, specs, guests, specs["first"].legs[0].nic, others)
