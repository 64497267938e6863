"""Juniper SRX firewalls: taken in, changed, let go, and which networks are on them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.hardware_device import AddDevice, begin, devices, networks_on, place_of, remove, set_capacity
from manager.api.commands.network_response import NetworkResponse
from manager.api.errors import Invalid
from manager.api.fields import Choice, Integer, Ref, Text
from manager.api.response import Long, Response, Shown, Str, SuccessResponse
from manager.models import PhysicalNetwork, SrxFirewall, WorkflowRow
from manager.models.hardware import SRX
from network.catalog import JUNIPER_SRX

OPTIONS = {
    "port": "830", "publicinterface": "ge-0/0/0.0", "privateinterface": "ge-0/0/1", "publiczone": "untrust",
    "timeout": "30", "fwdevicecapacity": "",
}  # fmt: skip
LONGEST_KEY, LONGEST_URL = 2000, 1000
SMALLEST_KEY = 32


class SrxFirewallResponse(Response):
    object_key = "srxfirewall"
    shows = SrxFirewall
    fwdeviceid = Str("the firewall's id")
    fwdevicename = Str("its name, as it tells it")
    fwdevicestate = Str("always Enabled")
    fwdevicecapacity = Long("how many networks may be on it")
    physicalnetworkid = Str("the id of its physical network")
    provider = Str("always JuniperSRX")
    ipaddress = Str("the address that it is configured at")
    zoneid = Str("the id of its zone")
    timeout = Str("seconds until a conversation with it has failed")
    publicinterface = Str("its interface that public addresses are on")
    privateinterface = Str("its interface that tenant networks are led into")
    publiczone = Str("the security zone of its public interface")
    hostid = Str("the id of the host that it is cabled to")
    hostinterface = Str("the interface of that host")
    vlan = Str("the VLANs of that interface that tenant networks may have")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[SrxFirewall]) -> list[Shown]:
        return [
            {
                "fwdeviceid": row.id,
                "fwdevicename": row.name,
                "fwdevicestate": "Enabled",
                "fwdevicecapacity": row.capacity,
                "provider": JUNIPER_SRX,
                "zoneid": row.zone_id,
                "timeout": str(row.timeout),
                "publicinterface": row.public_interface,
                "publiczone": row.public_zone,
                **place_of(row),
            }
            for row in rows
        ]


class AddSrxFirewall(AddDevice):
    url = Text("https:// and its address, and options: publicinterface, privateinterface, publiczone, timeout, "
               "fwdevicecapacity; NETCONF is spoken, at port 830 when none is given", max_length=LONGEST_URL,
               required=True)  # fmt: skip
    networkdevicetype = Choice("the kind of device", ["JuniperSRXFirewall"], required=True)
    hostkey = Text("its public SSH key in base64, without which it could be anybody", max_length=LONGEST_KEY,
                   required=True)  # fmt: skip


@command("addSrxFirewall", AddSrxFirewall, SrxFirewallResponse, is_async=True,
         event="PHYSICAL.FIREWALL.ADD")  # fmt: skip
def add_srx_firewall(call: Call, given: Given) -> WorkflowRow:
    """Take in a Juniper SRX as a firewall of tenant networks. Its host looks at it first."""
    return begin(call, SRX, given, _key(given.hostkey), OPTIONS)


def _key(text: str) -> str:
    """:raises Invalid: it is not base64"""
    try:
        is_key = len(base64.b64decode(text, validate=True)) >= SMALLEST_KEY
    except (ValueError, binascii.Error):
        is_key = False
    if not is_key:
        raise Invalid("The hostkey is not a public SSH key in base64, without the name of its kind in front.")
    return text


class OneSrxFirewall(Request):
    fwdeviceid = Ref(SrxFirewall, "the firewall", right="manage", required=True)


class ConfigureSrxFirewall(OneSrxFirewall):
    fwdevicecapacity = Integer("how many networks may be on it", least=1, most=4093)


@command("configureSrxFirewall", ConfigureSrxFirewall, SrxFirewallResponse, is_async=True,
         event="PHYSICAL.FIREWALL.CONFIGURE")  # fmt: skip
def configure_srx_firewall(call: Call, fwdeviceid: SrxFirewall, fwdevicecapacity: int | None) -> WorkflowRow:
    """Change how many networks may be on a firewall."""
    call.subject = fwdeviceid
    if fwdevicecapacity is not None:
        set_capacity(call, fwdeviceid, fwdevicecapacity)
    return call.job_done(fwdeviceid)


@command("deleteSrxFirewall", OneSrxFirewall, SuccessResponse, is_async=True, event="PHYSICAL.FIREWALL.DELETE")
def delete_srx_firewall(call: Call, fwdeviceid: SrxFirewall) -> WorkflowRow:
    """Let go a firewall that no network is on."""
    call.subject = fwdeviceid
    return remove(call, fwdeviceid)


class ListSrxFirewalls(ListRequest):
    physicalnetworkid = Ref(PhysicalNetwork, "only those of this physical network")
    fwdeviceid = Ref(SrxFirewall, "only this firewall")


@command("listSrxFirewalls", ListSrxFirewalls, SrxFirewallResponse)
def list_srx_firewalls(
    call: Call, fwdeviceid: SrxFirewall | None, physicalnetworkid: PhysicalNetwork | None, keyword: str | None
) -> Page:
    """List Juniper SRX firewalls."""
    return devices(call, SrxFirewall, fwdeviceid, physicalnetworkid, keyword)


class ListSrxFirewallNetworks(ListRequest):
    fwdeviceid = Ref(SrxFirewall, "the firewall", required=True)


@command("listSrxFirewallNetworks", ListSrxFirewallNetworks, NetworkResponse)
def list_srx_firewall_networks(call: Call, fwdeviceid: SrxFirewall, keyword: str | None) -> Page:
    """List the networks that a firewall serves."""
    return networks_on(call, fwdeviceid, keyword)
