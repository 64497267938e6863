"""What commands of all hardware devices share: how a device is named by a url, taken in, changed and let go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from sqlalchemy import select, update

from manager import configuration
from manager.api.call import Call
from manager.api.command import Given, Page, Request
from manager.api.commands.place import hold, narrowed, split_url, with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Shown
from manager.db import write
from manager.models import DeviceNetwork, HardwareDevice, Host, Network, PhysicalNetwork, WorkflowRow, new_id
from manager.workflows.device_life import KINDS, PROVIDERS, begin_adding, provider_of

CABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
PORT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]{0,63}")
VLANS = re.compile(r"([0-9]{1,4})-([0-9]{1,4})")
FIRST_VLAN, LAST_VLAN = 2, 4094
LONGEST_TIMEOUT = 300
CAPACITIES = {
    "srx": ("fwdevicecapacity", "external.firewall.default.capacity"),
    "netscaler": ("lbdevicecapacity", "external.lb.default.capacity"),
}
"""By kind of device: the option of its url, and the setting that holds without it."""
UNUSED = frozenset({"numretries", "privatezone", "usageinterface"})
"""Options of CloudStack's urls for which there is nothing: each network has a zone of its own, and jobs try again."""


class AddDevice(Request):
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network whose tenant networks it serves", required=True)
    username = Text("the user that the device is configured by", required=True)
    password = Text("that one's password", required=True)
    hostid = Ref(Host, "the host that its private interface is cabled to", right="manage", required=True)
    hostinterface = Text(
        "the interface of that host at the other end of the cable; it is for this device", required=True
    )
    vlan = Text("the VLANs of that interface that tenant networks may have, as first-last; 2-4094 when absent")


def begin(call: Call, kind: str, given: Given, key: str, defaults: Mapping[str, str]) -> WorkflowRow:
    """Start the job that takes a device in; `key` is what it is known by, `defaults` the options of its url.

    :raises Invalid: a value is not possible, the provider is not there, or the host cannot be asked
    """
    physical, host = given.physicalnetworkid, given.hostid
    address, port, options = _place(given.url, defaults)
    _check_place(call, kind, physical, host)
    if not CABLE.fullmatch(given.hostinterface):
        raise Invalid(f"The hostinterface {given.hostinterface} is not the name of an interface, of 15 characters.")
    first, last = _vlans(given.vlan)
    device = KINDS[kind](
        id=new_id(),
        kind=kind,
        physical_network_id=physical.id,
        zone_id=physical.zone_id,
        host_id=host.id,
        cable=given.hostinterface,
        name=address,
        address=address,
        port=port,
        user=given.username,
        password=given.password,
        host_key=key,
        guest_port=_port_name("privateinterface", options["privateinterface"]),
        public_interface=_port_name("publicinterface", options["publicinterface"]),
        public_zone=_port_name("publiczone", options.get("publiczone", "")),
        timeout=_number("timeout", options["timeout"], LONGEST_TIMEOUT),
        first_vlan=first,
        last_vlan=last,
        capacity=_capacity(call, kind, options),
        dedicated=options.get("lbdevicededicated", "").lower() == "true",
        live=f"{host.id}/{given.hostinterface}",
    )
    return begin_adding(call.session, device, call=call)


def _place(url: str, defaults: Mapping[str, str]) -> tuple[str, int, dict[str, str]]:
    """Address, port, and options by lower-case name, of a url such as https://192.0.2.9?publicinterface=ge-0/0/0.0.

    :raises Invalid: it is another, or has an option that is not known
    """
    parts = split_url(url)
    try:
        port = parts.port or int(defaults["port"])
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or parts.username or not port or parts.path.strip("/"):
        raise Invalid(f"The url {url} is not that of a device, such as https://192.0.2.9:{defaults['port']}.")
    given = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    strange = sorted(given.keys() - defaults.keys() - UNUSED | given.keys() & {"port"})
    if strange:
        known = ", ".join(sorted(defaults.keys() - {"port"}))
        raise Invalid(f"The url of the device has the option {strange[0]}; there are {known}.")
    return parts.hostname, port, {**defaults, **given}


def _check_place(call: Call, kind: str, physical: PhysicalNetwork, host: Host) -> None:
    """:raises Invalid: the provider is not there or Disabled, or the host is not Up or of another zone"""
    provider = provider_of(call.session, kind, physical.id)
    name = PROVIDERS[kind]
    if provider is None:
        raise Invalid(f"The physical network {physical.name} has no provider {name}; addNetworkServiceProvider gives "
                      "it one.")  # fmt: skip
    if provider.state != "Enabled":
        raise Invalid(f"The provider {name} of the physical network {physical.name} is {provider.state}.")
    hold(call, host)
    if host.zone_id != physical.zone_id:
        raise Invalid(f"The host {host.name} is not in the zone of the physical network {physical.name}.")
    if host.state != "Up":
        raise Invalid(f"The host {host.name} is {host.state}; it must be Up to look at the device.")


def _vlans(text: str | None) -> tuple[int, int]:
    match = VLANS.fullmatch(text) if text else None
    first, last = (int(match[1]), int(match[2])) if match else (FIRST_VLAN, LAST_VLAN)
    if (text and match is None) or not FIRST_VLAN <= first <= last <= LAST_VLAN:
        raise Invalid(f"The vlan {text} is not a range of VLANs from {FIRST_VLAN} to {LAST_VLAN} such as 100-299.")
    return first, last


def _port_name(name: str, value: str) -> str:
    if value and not PORT_NAME.fullmatch(value):
        raise Invalid(f"The {name} {value} is not a name of letters, digits and /._-, of at most 64 characters.")
    return value


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(most)) + 1 and 1 <= int(text) <= most):
        raise Invalid(f"The {name} {text} of the device is not a number from 1 to {most}.")
    return int(text)


def _capacity(call: Call, kind: str, options: Mapping[str, str]) -> int:
    name, setting = CAPACITIES[kind]
    if not options[name]:
        return int(configuration.value(call.session, setting))
    return _number(name, options[name], LAST_VLAN - 1)


def set_capacity(call: Call, device: HardwareDevice, capacity: int) -> None:
    """:raises Invalid: more networks than that are on it"""
    fitting = update(HardwareDevice).where(HardwareDevice.id == device.id, HardwareDevice.used <= capacity)
    if not write(call.session, fitting.values(capacity=capacity)):
        raise Invalid(f"The device {device.name} serves {device.used} networks; its capacity cannot be {capacity}.")
    call.session.refresh(device)


def set_dedicated(call: Call, device: HardwareDevice, *, dedicated: bool) -> None:
    """:raises Invalid: it is to serve one account, and has networks of several"""
    hold(call, device)
    query = select(Network.account_id).join(DeviceNetwork, DeviceNetwork.network_id == Network.id)
    accounts = set(call.session.scalars(query.where(DeviceNetwork.device_id == device.id)))
    if dedicated and len(accounts) > 1:
        raise Invalid(f"The device {device.name} serves networks of {len(accounts)} accounts; it cannot be dedicated.")
    device.dedicated = dedicated
    device.dedicated_to = next(iter(accounts), None) if dedicated else None


def remove(call: Call, device: HardwareDevice) -> WorkflowRow:
    """Let the device go.

    :raises Invalid: networks are on it
    """
    hold(call, device)
    if device.used:
        raise Invalid(f"The device {device.name} cannot be removed: it serves {device.used} networks.")
    device.remove()
    return call.job_done(device)


def networks_on(call: Call, device: HardwareDevice, keyword: str | None) -> Page:
    query = select(Network).join(DeviceNetwork, DeviceNetwork.network_id == Network.id)
    query = with_keyword(query.where(DeviceNetwork.device_id == device.id), keyword, Network.name)
    return call.paged(query.order_by(Network.created, Network.id))


def devices(
    call: Call, kind: type[HardwareDevice], given: HardwareDevice | None, physical: PhysicalNetwork | None,
    keyword: str | None,
) -> Page:  # fmt: skip
    """Those of a kind: the one `given`, those of a physical network, or all."""
    query = narrowed(
        select(kind).where(kind.removed.is_(None)),
        {"device": given, "physical": physical},
        {"device": kind.id, "physical": kind.physical_network_id},
    )
    return call.paged(with_keyword(query, keyword, kind.name).order_by(kind.created, kind.id))


def place_of(device: HardwareDevice) -> Shown:
    """What is shown alike of where any device is, and of how it is cabled."""
    return {
        "physicalnetworkid": device.physical_network_id,
        "ipaddress": device.address,
        "privateinterface": device.guest_port,
        "hostid": device.host_id,
        "hostinterface": device.cable,
        "vlan": f"{device.first_vlan}-{device.last_vlan}",
    }
