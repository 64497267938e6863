"""NetScaler load balancers: taken in, changed, let go, and which networks are on them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.hardware_device import (
    AddDevice,
    begin,
    devices,
    networks_on,
    place_of,
    remove,
    set_capacity,
    set_dedicated,
)
from manager.api.commands.network_response import NetworkResponse
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Long, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.api.response import Long as LongField
from manager.models import NetscalerLoadBalancer, PhysicalNetwork, WorkflowRow
from manager.models.hardware import NETSCALER
from network import catalog

OPTIONS = {
    "port": "443", "publicinterface": "", "privateinterface": "1/2", "timeout": "30", "lbdevicecapacity": "",
    "lbdevicededicated": "false",
}  # fmt: skip
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
TYPES = ("NetscalerMPXLoadBalancer", "NetscalerVPXLoadBalancer", "NetscalerSDXLoadBalancer")


class NetscalerResponse(Response):
    object_key = "netscalerloadbalancer"
    shows = NetscalerLoadBalancer
    lbdeviceid = Str("the load balancer's id")
    lbdevicename = Str("its name, as it tells it")
    lbdevicestate = Str("always Enabled")
    lbdevicecapacity = LongField("how many networks may be on it")
    lbdevicededicated = Bool("whether it serves one account at a time")
    physicalnetworkid = Str("the id of its physical network")
    provider = Str("always Netscaler")
    ipaddress = Str("the address that it is configured at")
    publicinterface = Str("its interface that public addresses are on, if the operator named it")
    privateinterface = Str("its interface that tenant networks are led into")
    hostid = Str("the id of the host that it is cabled to")
    hostinterface = Str("the interface of that host")
    vlan = Str("the VLANs of that interface that tenant networks may have")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[NetscalerLoadBalancer]) -> list[Shown]:
        return [
            {
                "lbdeviceid": row.id,
                "lbdevicename": row.name,
                "lbdevicestate": "Enabled",
                "lbdevicecapacity": row.capacity,
                "lbdevicededicated": row.dedicated,
                "provider": catalog.NETSCALER,
                "publicinterface": row.public_interface or None,
                **place_of(row),
            }
            for row in rows
        ]


class AddNetscaler(AddDevice):
    url = Text("https:// and its address, and options: publicinterface, privateinterface, timeout, lbdevicecapacity, "
               "lbdevicededicated", max_length=1000, required=True)  # fmt: skip
    networkdevicetype = Choice("the kind of device", TYPES, required=True)
    hostkey = Text("the SHA-256 of its certificate in hexadecimal; without it an authority must vouch for the device")


@command("addNetscalerLoadBalancer", AddNetscaler, NetscalerResponse, is_async=True,
         event="PHYSICAL.LOADBALANCER.ADD")  # fmt: skip
def add_netscaler(call: Call, given: Given) -> WorkflowRow:
    """Take in a NetScaler as a load balancer of tenant networks. Its host looks at it first."""
    key = (given.hostkey or "").replace(":", "").lower()
    if key and not FINGERPRINT.fullmatch(key):
        raise Invalid("The hostkey is not the SHA-256 of a certificate, 64 hexadecimal digits.")
    return begin(call, NETSCALER, given, key, OPTIONS)


class OneNetscaler(Request):
    lbdeviceid = Ref(NetscalerLoadBalancer, "the load balancer", right="manage", required=True)


class ConfigureNetscaler(OneNetscaler):
    lbdevicecapacity = Long("how many networks may be on it", least=1, most=4093)
    lbdevicededicated = Flag("whether it serves one account at a time")


@command("configureNetscalerLoadBalancer", ConfigureNetscaler, NetscalerResponse, is_async=True,
         event="PHYSICAL.LOADBALANCER.CONFIGURE")  # fmt: skip
def configure_netscaler(
    call: Call, lbdeviceid: NetscalerLoadBalancer, lbdevicecapacity: int | None, lbdevicededicated: bool | None
) -> WorkflowRow:
    """Change how many networks may be on a load balancer, and for whom it is."""
    call.subject = lbdeviceid
    if lbdevicecapacity is not None:
        set_capacity(call, lbdeviceid, lbdevicecapacity)
    if lbdevicededicated is not None:
        set_dedicated(call, lbdeviceid, dedicated=lbdevicededicated)
    return call.job_done(lbdeviceid)


@command("deleteNetscalerLoadBalancer", OneNetscaler, SuccessResponse, is_async=True,
         event="PHYSICAL.LOADBALANCER.DELETE")  # fmt: skip
def delete_netscaler(call: Call, lbdeviceid: NetscalerLoadBalancer) -> WorkflowRow:
    """Let go a load balancer that no network is on."""
    call.subject = lbdeviceid
    return remove(call, lbdeviceid)


class ListNetscalers(ListRequest):
    physicalnetworkid = Ref(PhysicalNetwork, "only those of this physical network")
    lbdeviceid = Ref(NetscalerLoadBalancer, "only this load balancer")


@command("listNetscalerLoadBalancers", ListNetscalers, NetscalerResponse)
def list_netscalers(
    call: Call, lbdeviceid: NetscalerLoadBalancer | None, physicalnetworkid: PhysicalNetwork | None,
    keyword: str | None,
) -> Page:  # fmt: skip
    """List NetScaler load balancers."""
    return devices(call, NetscalerLoadBalancer, lbdeviceid, physicalnetworkid, keyword)


class ListNetscalerNetworks(ListRequest):
    lbdeviceid = Ref(NetscalerLoadBalancer, "the load balancer", required=True)


@command("listNetscalerLoadBalancerNetworks", ListNetscalerNetworks, NetworkResponse)
def list_netscaler_networks(call: Call, lbdeviceid: NetscalerLoadBalancer, keyword: str | None) -> Page:
    """List the networks that a load balancer serves."""
    return networks_on(call, lbdeviceid, keyword)
