"""A site with two virtual routers, their guests, and a public network with one host on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from network.elements.daemons import arguments_of
from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.names import router_namespace
from network.types import NetworkView, RouterSpec
from tests.unit.network.lab import PREFIX, ROUTERS, Host, Lab, inside, sh
from tests.unit.network.routers import OUTSIDE, router
from tests.unit.network.views import network, nic

CLIENT = """#!/bin/sh
echo "event=$1 ip=$ip mask=$mask router=$router dns=$dns mtu=$mtu domain=$domain hostname=$hostname"
echo "routes=$staticroutes"
[ "$1" = bound ] || exit 0
ip address flush dev $interface
ip address add $ip/$mask dev $interface
ip route replace default via $router
"""
PUBLIC = f"{PREFIX}-outside"


@dataclass
class Site:
    lab: Lab
    host: Host
    element: VirtualRouter
    guests: dict[str, str]
    specs: dict[str, RouterSpec]
    views: list[NetworkView] = field(default_factory=list)

    def apply(self, spec: RouterSpec) -> None:
        with inside(self.host.ns):
            self.element.apply(spec)

    def remove(self, router_id: str) -> None:
        with inside(self.host.ns):
            self.element.remove(router_id)

    def keep(self, tenant: str) -> None:
        with inside(self.host.ns):
            self.element.keep_tunnels(ROUTERS[tenant])

    def daemons(self, router_id: str) -> dict[str, int]:
        """Process id by program."""
        found = {}
        for pid in sh("ip", "netns", "pids", router_namespace(router_id)).split():
            known = ("dnsmasq", "haproxy", "charon-systemd")
            if words := arguments_of(int(pid)):
                found[words[0] if words[0] in known else "metadata"] = int(pid)
        return found

    def ask_dhcp(self, guest: str, *options: str) -> str:
        script = self.lab.dir / "client"
        script.write_text(CLIENT)
        script.chmod(0o755)
        line = ("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", str(script), "-t", "4", "-T", "2")
        wanted = ("-O", "mtu", "-O", "staticroutes", "-O", "hostname", "-O", "domain")
        return sh("ip", "netns", "exec", self.guests[guest], *line, *wanted, *options, check=False)

    def fetch(self, guest: str, url: str, *options: str) -> str:
        """Status and body."""
        line = ("curl", "-s", "-m", "5", "-w", " %{http_code}", *options, url)
        body, _, status = sh("ip", "netns", "exec", self.guests[guest], *line, check=False).rpartition(" ")
        return f"{status} {body}"

    def password(self, guest: str, request: str) -> str:
        return self.fetch(guest, "http://10.1.1.1:8080/", "-H", f"DomU_Request: {request}")

    def look_up(self, guest: str, name: str) -> str:
        return sh("ip", "netns", "exec", self.guests[guest], "busybox", "nslookup", name, "10.1.1.1", check=False)


def build(lab: Lab) -> Site:
    """Two tenants with the same addresses, both routers on host-3; a public network with one host on it."""
    host = lab.hosts[2]
    sh("ip", "-n", host.ns, "link", "add", "br-public", "type", "bridge")
    sh("ip", "-n", host.ns, "link", "set", "br-public", "up")
    lab.add_namespace(PUBLIC)
    sh("ip", "-n", host.ns, "link", "add", "public", "type", "veth", "peer", "name", "eth0", "netns", PUBLIC)
    sh("ip", "-n", host.ns, "link", "set", "public", "master", "br-public", "up")
    sh("ip", "-n", PUBLIC, "link", "set", "eth0", "up")
    sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
    element = VirtualRouter(VirtualRouterSettings(lab.dir / "routers"), host.switch)
    built = Site(lab, host, element, {}, {})
    views = []
    for tenant, key in (("a", 1001), ("b", 1002)):
        nics = [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2")]
        built.specs[tenant] = router(tenant, nics)
        views.append(network(tenant, key, [*nics, built.specs[tenant].legs[0].nic]))
        for one in nics:
            built.guests[one.id[4:]] = lab.add_guest(one.id[4:], one, configured=False)
    lab.apply(views)
    built.views = views
    return built
