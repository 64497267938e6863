"""Remote access as a committed configuration defines it: gateways of IKEv2 whose people the device knows itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, summarize_address_range

from lxml import etree

from devcloud.devices.junos.encrypted import plain
from devcloud.devices.junos.layout import Layout, device_of
from devcloud.devices.junos.tree import named, texts, units
from devcloud.devices.linux import PlaneError

MARKS = 70000
"""Above all numbers of routing instances."""
ZONE = 65535
"""Of the connections to all gateways, whose addresses differ; those of routing instances are smaller."""
PORTS = (500, 4500)
CIPHERS = {"3des-cbc": "3des", "aes-128-cbc": "aes128", "aes-192-cbc": "aes192", "aes-256-cbc": "aes256",
           "aes-128-gcm": "aes128gcm16", "aes-256-gcm": "aes256gcm16"}  # fmt: skip
HASHES = {"md5": "md5", "sha1": "sha1", "sha-256": "sha256", "sha-384": "sha384", "hmac-md5-96": "md5",
          "hmac-sha1-96": "sha1", "hmac-sha-256-128": "sha256"}  # fmt: skip
GROUPS = {"group2": "modp1024", "group5": "modp1536", "group14": "modp2048", "group15": "modp3072",
          "group16": "modp4096", "group19": "ecp256", "group20": "ecp384"}  # fmt: skip


@dataclass(frozen=True)
class Gateway:
    """`device` is where people come in, `tunnel` where they come out, `instance` the number of the routing instance.

    `is_open` when the device takes IKE there. `near` are networks that people reach, `first` to `last` what they are
    given, `users` their names and passwords. Proposals are strongSwan's.
    """

    unit: int
    instance: int
    device: str
    address: str
    identity: str
    certificate: str
    ike: tuple[str, ...]
    esp: tuple[str, ...]
    near: tuple[str, ...]
    first: str
    last: str
    mtu: int
    dpd: str
    is_open: bool
    users: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def tunnel(self) -> str:
        return f"st0.{self.unit}"

    @property
    def wire(self) -> str:
        """The device that leads to what answers at `address`."""
        return f"ike-{self.unit}"

    @property
    def mark(self) -> int:
        """Of packets to that, which is the number of their routing table as well."""
        return MARKS + self.unit

    @property
    def people(self) -> list[str]:
        """Networks, as `ip` writes them."""
        spans = summarize_address_range(IPv4Address(self.first), IPv4Address(self.last))
        return [str(one).removesuffix("/32") for one in spans]


def gateways_of(configuration: etree._Element, layout: Layout) -> tuple[Gateway, ...]:
    """:raises PlaneError: a VPN is of a kind that this device cannot bring into force"""
    return tuple(_gateways(configuration, layout))


def _gateways(configuration: etree._Element, layout: Layout) -> Iterator[Gateway]:
    gateways = named(configuration, "security/ike/gateway")
    policies = named(configuration, "security/ike/policy")
    profiles = named(configuration, "access/profile")
    tunnels = {unit.name: unit for unit in layout.units}
    mtus = {name: unit.findtext("family/inet/mtu") for name, unit in units(configuration)}
    for name, vpn in named(configuration, "security/ipsec/vpn").items():
        gateway = gateways[vpn.findtext("ike/gateway") or ""]
        _refuse_others(name, vpn, gateway)
        profile = profiles[gateway.findtext("aaa/access-profile/name") or ""]
        ike_policy = policies[gateway.findtext("ike-policy") or ""]
        interface, tunnel = gateway.findtext("external-interface") or "", vpn.findtext("bind-interface") or ""
        first, last = _range(configuration, gateway, profile, tunnel)
        address = gateway.findtext("local-address") or ""
        yield Gateway(
            unit=int(tunnel.partition(".")[2]),
            instance=tunnels[tunnel].instance,
            device=device_of(interface),
            address=address,
            identity=gateway.findtext("local-identity/inet/identity-ipv4") or address,
            certificate=ike_policy.findtext("certificate/local-certificate") or "",
            ike=_proposals(configuration, "ike", ike_policy),
            esp=_proposals(
                configuration,
                "ipsec",
                named(configuration, "security/ipsec/policy")[vpn.findtext("ike/ipsec-policy") or ""],
            ),
            near=tuple(texts(vpn, "traffic-selector/local-ip")),
            first=first,
            last=last,
            mtu=int(mtus[tunnel] or 9192),
            dpd=gateway.findtext("dead-peer-detection/interval") or "0",
            is_open=_takes_ike(configuration, interface),
            users=_users(profile),
        )


def _refuse_others(name: str, vpn: etree._Element, gateway: etree._Element) -> None:
    needed = ("dynamic", "aaa/access-profile", "local-address", "general-ikeid")
    lacking = [tag for tag in needed if gateway.find(tag) is None]
    lacking += [tag for tag in ("bind-interface", "traffic-selector") if vpn.find(tag) is None]
    if lacking or gateway.findtext("version") != "v2-only":
        raise PlaneError(f"vpn {name}: this device has remote access by IKEv2 alone; {lacking or 'version'}")


def _range(configuration: etree._Element, gateway: etree._Element, profile: etree._Element, tunnel: str) -> list[str]:
    """First and last address of the pool: that of the tunnel's routing instance where the gateway says so."""
    wanted, path = profile.findtext("address-assignment/pool"), "access/address-assignment/pool"
    places = [configuration]
    if gateway.find("aaa/use-routing-instance-address") is not None:
        instances = configuration.findall("routing-instances/instance")
        places = [one for one in instances if tunnel in texts(one, "interface/name")]
    for one in places:
        pool = named(one, path).get(wanted or "")
        span = None if pool is None else pool.find("family/inet/range")
        if span is not None:
            return [span.findtext("low") or "", span.findtext("high") or ""]
    raise PlaneError(f"access profile {profile.findtext('name')}: there is no range of addresses for {tunnel}")


def _proposals(configuration: etree._Element, kind: str, policy: etree._Element) -> tuple[str, ...]:
    known = named(configuration, f"security/{kind}/proposal")
    return tuple(_proposal(known[name]) for name in texts(policy, "proposals"))


def _proposal(one: etree._Element) -> str:
    given = (
        ("encryption-algorithm", CIPHERS),
        ("authentication-algorithm", HASHES),
        ("dh-group", GROUPS),
    )
    return "-".join(names[text] for tag, names in given if (text := one.findtext(tag)) is not None)


def _takes_ike(configuration: etree._Element, interface: str) -> bool:
    return any(
        entry.findtext("name") == interface
        and {"ike", "all"} & set(texts(entry, "host-inbound-traffic/system-services/name"))
        for entry in configuration.findall("security/zones/security-zone/interfaces")
    )


def _users(profile: etree._Element) -> tuple[tuple[str, str], ...]:
    if "password" not in texts(profile, "authentication-order"):
        raise PlaneError(f"access profile {profile.findtext('name')}: this device reaches no other server of passwords")
    found = profile.findall("client")
    return tuple((one.findtext("name") or "", plain(one.findtext("firewall-user/password") or "")) for one in found)
