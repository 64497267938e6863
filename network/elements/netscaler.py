"""A NetScaler as the load balancer of tenant networks.

NITRO changes one resource at a time: they are made in an order in which each stands behind what it needs, removed in
the opposite one, and put back when the device refuses one. Who is ended half way leaves a part, of which the next
`apply` makes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from network.elements.netscaler_config import FOLDER, KINDS, PREFIX, Content, Resources, name_of, server_of, wanted
from network.elements.nitro import NetscalerSettings, Nitro, conversation
from network.errors import DeviceRefusedError, InvalidViewError, NetworkError
from network.hardware import BalancedNetwork, DeviceFacts


class Netscaler:
    """Balances connections to public addresses over the guests of networks that the device has a leg in.

    Guest networks may have the same addresses: each is a traffic domain of the device.
    """

    def __init__(self, settings: NetscalerSettings) -> None:
        self._settings = settings

    def apply(self, network: BalancedNetwork) -> None:
        """Make what the device does for the network as said. Doing it again is no error.

        :raises InvalidViewError: the device cannot do it
        """
        resources = wanted(network, self._settings.interface)
        with conversation(self._settings) as nitro:
            _check_neighbours(nitro, network)
            before = _held(nitro, network.id)
            if _differences(before, resources):
                nitro.act("nsfeature", "enable", {"feature": ["LB", "REWRITE", "SSL"]})
                _make_or_put_back(nitro, before, resources, network.id)
                nitro.act("nsconfig", "save", {})

    def remove(self, network_id: str) -> None:
        with conversation(self._settings) as nitro:
            before = _held(nitro, network_id)
            if before:
                _make_or_put_back(nitro, before, {}, network_id)
                nitro.act("nsconfig", "save", {})

    def list(self) -> list[str]:
        """Names of the networks that the device has a leg in."""
        with conversation(self._settings) as nitro:
            return sorted(one["aliasname"] for one in nitro.every("vlan") if _is_ours(one))

    def differences(self, network: BalancedNetwork) -> tuple[str, ...]:
        """Names of what the device has and should not (+), should have and has not (-), or has otherwise (~)."""
        resources = wanted(network, self._settings.interface)
        with conversation(self._settings) as nitro:
            held = _held(nitro, network.id)
        signs = dict.fromkeys(held.keys() - resources.keys(), "+") | dict.fromkeys(resources.keys() - held.keys(), "-")
        both = held.keys() & resources.keys()
        signs |= dict.fromkeys((key for key in both if _changed(held, resources, key)), "~")
        return tuple(sorted(f"{sign}{kind} {' '.join(key)}" for (kind, key), sign in signs.items()))

    def statistics(self, network_id: str, balancer_id: str) -> dict[str, Any]:
        """Of one balancer, in NITRO's names: tothits, curclntconnections, totalrequestbytes, state and more."""
        with conversation(self._settings) as nitro:
            return nitro.statistics("lbvserver", server_of(network_id, balancer_id))

    def system(self) -> dict[str, Any]:
        """Version and hardware, as the device tells them."""
        with conversation(self._settings) as nitro:
            return {**nitro.one("nsversion"), **nitro.one("nshardware")}

    def inspect(self) -> DeviceFacts:
        """:raises DeviceRefusedError: the device has no such interface"""
        own = self._settings
        with conversation(own) as nitro:
            shown = {str(one["id"]): str(one.get("mac", "")) for one in nitro.every("Interface")}
            hardware, version = nitro.one("nshardware"), nitro.one("nsversion")
        if not shown.get(own.interface):
            raise DeviceRefusedError(f"The device {own.host} has no interface {own.interface} with a MAC address.")
        names = str(hardware.get("host", "")), str(hardware.get("hwdescription", ""))
        return DeviceFacts(shown[own.interface].lower(), *names, str(version.get("version", "")).strip())


def _told(key: tuple[str, tuple[str, ...]]) -> str:
    return " ".join((key[0], *key[1]))


def _is_ours(vlan: dict[str, Any]) -> bool:
    return str(vlan.get("aliasname", "")).startswith(PREFIX)


def _check_neighbours(nitro: Nitro, network: BalancedNetwork) -> None:
    """:raises InvalidViewError: its VLAN, or the traffic domain of the same number, is another network's already"""
    own = name_of(network.id)
    for kind, key, told in (("vlan", "id", "VLAN"), ("nstrafficdomain", "td", "The traffic domain")):
        taken = {str(one[key]): one.get("aliasname", "") for one in nitro.every(kind)}
        if taken.get(str(network.vlan), own) != own:
            raise InvalidViewError(f"{told} {network.vlan} of network {network.id} is already used on the device.")


def _held(nitro: Nitro, network_id: str) -> Resources:
    """What the device has for the network; files without what is in them, which their names stand for."""
    name = name_of(network_id)
    there = {
        kind.name: nitro.every(kind.name)
        if kind.name != "systemfile"
        else [{"filename": file, "filelocation": FOLDER} for file in nitro.files(FOLDER)]
        for kind in KINDS
    }
    vlans = {str(one["id"]) for one in there["vlan"] if one.get("aliasname") == name}
    domains = {str(one["td"]) for one in there["nstrafficdomain"] if one.get("aliasname") == name}
    bound = {_key(one, ("ipaddress", "td")) for one in there["vlan_nsip_binding"] if str(one["id"]) in vlans}
    found: dict[tuple[str, tuple[str, ...]], Content] = {}
    for kind in KINDS:
        for one in there[kind.name]:
            key = _key(one, kind.keys)
            if kind.name == "nsip":
                is_own = key in bound or key[1] in domains
            elif kind.name.startswith("nstrafficdomain"):
                is_own = key[0] in domains
            else:
                is_own = key[0] in vlans if kind.name.startswith("vlan") else key[0].startswith(f"{name}-")
            if is_own:
                found[kind.name, key] = one
    return found


def _key(one: Content, fields: tuple[str, ...]) -> tuple[str, ...]:
    """What is in no traffic domain that somebody made is in domain 0."""
    return tuple(str(one.get(field, 0) if field == "td" else one[field]) for field in fields)


def _differences(held: Resources, resources: Resources) -> bool:
    return held.keys() != resources.keys() or any(_changed(held, resources, key) for key in resources)


def _changed(held: Resources, resources: Resources, key: tuple[str, tuple[str, ...]]) -> list[str]:
    """The arguments that are not as wanted. What a file holds is not told; its name says it."""
    there = held[key]
    return [
        name
        for name, value in resources[key].items()
        if not (key[0] == "systemfile" or _said(there.get(name)) == _said(value))
    ]


def _said(value: Any) -> Any:
    """Devices tell numbers as texts or as numbers."""
    return value if isinstance(value, list) else str(value).lower()


LAST = ("sslcertkey", "systemfile")
"""What a device does not tell the content of: removed when nothing can make it needed again."""


def _make_or_put_back(nitro: Nitro, before: Resources, resources: Resources, network_id: str) -> None:
    kept = {key: content for key, content in before.items() if key[0] in LAST}
    try:
        _make(nitro, before, {**kept, **resources})
    except NetworkError as error:
        if not error.retryable:
            _make(nitro, _held(nitro, network_id), before)
        raise
    _delete(nitro, kept.keys() - resources.keys())


def _make(nitro: Nitro, held: Resources, resources: Resources) -> None:
    gone = {key for key in held if key not in resources}
    for kind in KINDS:
        gone |= {
            key
            for key in held
            if key[0] == kind.name and key in resources and set(_changed(held, resources, key)) & set(kind.fixed)
        }
    # Bindings end with either of what they bind.
    names = {(kind, key[0]) for kind, key in gone}
    for kind in (kind for kind in KINDS if kind.is_binding):
        bound = (key for key in held if key[0] == kind.name)
        gone |= {key for key in bound if {(kind.owner, key[1][0]), (kind.other, key[1][1])} & names}
    _delete(nitro, gone)
    for kind in KINDS:
        for key in (key for key in resources if key[0] == kind.name):
            if key not in held or key in gone:
                nitro.add(kind.name, _arguments(resources[key], (*kind.keys, *kind.fixed, *kind.changing)))
            elif _changed(held, resources, key):
                nitro.update(kind.name, _arguments(resources[key], (*kind.keys, *kind.changing)))


def _delete(nitro: Nitro, gone: Iterable[tuple[str, tuple[str, ...]]]) -> None:
    """Bindings before what they bind, and all before what they need."""
    chosen = set(gone)
    bindings_last = [kind for kind in KINDS if not kind.is_binding] + [kind for kind in KINDS if kind.is_binding]
    for kind in reversed(bindings_last):
        for name, key in sorted(key for key in chosen if key[0] == kind.name):
            arguments = dict(zip(kind.keys[1:], key[1:], strict=True))
            nitro.delete(name, key[0], {"filelocation": FOLDER} if name == "systemfile" else arguments)


def _arguments(content: Content, names: tuple[str, ...]) -> dict[str, Any]:
    """What was read from a device holds more than can be given to it."""
    return {name: value for name, value in content.items() if name in names}
