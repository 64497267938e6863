"""DevCloud's hardware: an emulated SRX and an emulated NetScaler, each in a namespace of its own, cabled to host 1.

Each has three ports: one for its configuration on the underlay, one on the public network, and one for tenants, which
a cable of its own joins to the host. What an operator configures before a cloud may use them is there from the start.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from devcloud import underlay
from devcloud.devices.junos import load
from devcloud.devices.junos.server import host_key
from devcloud.devices.nitro.server import certificate
from devcloud.management import write_secret
from devcloud.paths import REPOSITORY, Site
from devcloud.processes import output
from devcloud.supervisor import Process

SRX, NETSCALER = "srx", "netscaler"
HOST = 1
PREFIX_LENGTH = 24
SRX_PUBLIC, NETSCALER_PUBLIC = "198.51.100.2", "198.51.100.3"
SRX_CONFIGURATION = f"""
<configuration>
  <system><host-name>srx</host-name></system>
  <interfaces>
    <interface><name>ge-0/0/0</name><unit><name>0</name><family><inet>
      <address><name>{SRX_PUBLIC}/{PREFIX_LENGTH}</name></address></inet></family></unit></interface>
    <interface><name>ge-0/0/1</name><vlan-tagging/></interface>
  </interfaces>
  <routing-options><static><route>
    <name>0.0.0.0/0</name><next-hop>{underlay.PUBLIC_GATEWAY}</next-hop></route></static></routing-options>
  <security>
    <zones><security-zone><name>untrust</name><interfaces><name>ge-0/0/0.0</name>
      <host-inbound-traffic><system-services><name>ike</name></system-services></host-inbound-traffic>
    </interfaces></security-zone></zones>
    <nat><destination><rule-set><name>pileus</name><from><zone>untrust</zone></from></rule-set></destination></nat>
  </security>
</configuration>
"""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a destination
NETSCALER_CONFIGURATION = {
    "nsip": {"ipaddress": NETSCALER_PUBLIC, "netmask": underlay.PUBLIC_NETMASK, "type": "SNIP"},
    "route": {"network": EVERYWHERE, "netmask": EVERYWHERE, "gateway": underlay.PUBLIC_GATEWAY},
}


@dataclass(frozen=True)
class Appliance:
    """`address` is where it is configured, by `user`; `module` is its program, listening on `port`.

    `management`, `public` and `guest` are its ports, of which `mac` is the address of the last.
    """

    name: str
    module: str
    user: str
    address: str
    port: int
    management: str
    public: str
    guest: str
    mac: str

    @property
    def cable(self) -> int:
        """The number of the host's interface at the other end of the cable."""
        return 2 + [one.name for one in APPLIANCES].index(self.name)

    def state(self, site: Site) -> Path:
        return site.state / self.name

    def password_file(self, site: Site) -> Path:
        return site.secrets / f"{self.name}.password"

    def key(self, site: Site) -> str:
        """What it is known by: its public SSH key in base64, or the SHA-256 of its certificate."""
        if self.name == NETSCALER:
            return certificate(self.state(site))[1]
        public: bytes = host_key(self.state(site) / "host_key").export_public_key("openssh")
        return public.split()[1].decode()

    def process(self, site: Site) -> Process:
        where = ["--state", str(self.state(site)), "--password-file", str(self.password_file(site))]
        argv = [sys.executable, "-m", self.module, *where, "--user", self.user]
        argv += ["--listen", self.address, "--port", str(self.port)]
        return Process(self.name, underlay.enter(site.device(self.name), argv), directory=str(REPOSITORY))


APPLIANCES = (
    Appliance(
        SRX, "devcloud.devices.junos.server", "pileus", "192.0.2.5", 830, "fxp0", "ge-0-0-0.0", "ge-0-0-1",
        "4c:96:14:00:00:01",
    ),
    Appliance(
        NETSCALER, "devcloud.devices.nitro.server", "nsroot", "192.0.2.6", 443, "mgmt", "public", "1-2",
        "00:e0:ed:00:00:02",
    ),
)  # fmt: skip


def ensure(site: Site) -> None:
    """Make namespaces, wires, passwords and first configurations; what is there is left alone."""
    for one in APPLIANCES:
        namespace = site.device(one.name)
        underlay.ensure_namespace(namespace)
        underlay.ensure_bridge(site, underlay.cable_bridge(one.name))
        _plug(site, one, 0, one.management, underlay.UNDERLAY_BRIDGE)
        _plug(site, one, 1, one.public, underlay.PUBLIC_BRIDGE)
        _plug(site, one, 2, one.guest, underlay.cable_bridge(one.name))
        address = f"{one.address}/{PREFIX_LENGTH}"
        output(["ip", "-n", namespace, "address", "replace", address, "dev", one.management])
        _first_start(site, one)


def remove(site: Site) -> None:
    for one in APPLIANCES:
        underlay.remove_namespace(site.device(one.name))


def processes(site: Site) -> list[Process]:
    """Those of the appliances that `ensure` has made."""
    return [one.process(site) for one in APPLIANCES if one.password_file(site).exists()]


def reach(site: Site) -> dict[str, str]:
    """How each is reached, by name."""
    return {
        one.name: f"{one.user}@{one.address} port {one.port} from the hosts; ip netns exec {site.device(one.name)} ..."
        for one in APPLIANCES
    }


def _plug(site: Site, one: Appliance, number: int, device: str, bridge: str) -> None:
    namespace = site.device(one.name)
    if underlay.has_link(namespace, device):
        return
    for argv in underlay.cable(site, one.name, number, bridge, device):
        output(underlay.enter(namespace, argv))
    if device == one.guest:
        output(["ip", "-n", namespace, "link", "set", device, "address", one.mac])


def _first_start(site: Site, one: Appliance) -> None:
    state = one.state(site)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    site.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    makers: dict[str, tuple[str, Callable[[], str]]] = {
        SRX: ("0.xml", _srx_configuration),
        NETSCALER: ("ns.conf", _netscaler_configuration),
    }
    file, make = makers[one.name]
    if not (state / file).exists():
        (state / file).write_text(make())
    one.key(site)
    if not one.password_file(site).exists():
        write_secret(one.password_file(site), secrets.token_urlsafe(24))


def _srx_configuration() -> str:
    return etree.tostring(load.load(load.empty(), etree.fromstring(SRX_CONFIGURATION)), encoding="unicode")


def _netscaler_configuration() -> str:
    resources = {kind: [[[next(iter(one.values()))], one]] for kind, one in NETSCALER_CONFIGURATION.items()}
    return json.dumps({"features": [], "resources": resources})
