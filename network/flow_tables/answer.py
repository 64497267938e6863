"""What guests would otherwise have to broadcast: ARP is answered on the host, DHCP goes to the router alone."""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.layout import (
    ARP_ANSWER,
    ARP_KIND,
    DHCP,
    DHCP_KIND,
    DHCP_REPLY,
    DHCP_REQUEST,
    FORWARD,
    Flow,
    Place,
    cookie,
)


def arp_flows(place: Place) -> Iterator[Flow]:
    """An answer for every address of the network, also those on other hosts, and for the gateway."""
    if place.view.bare:
        return  # guests ask each other
    owners = {address: (nic.mac, nic.id) for nic in place.view.nics for address in (nic.address, *nic.further)}
    if place.router is not None and not place.view.gateway_outside:
        owners.setdefault(place.view.gateway, (place.router.mac, place.router.id))
    for address, (mac, nic_id) in owners.items():
        match = f"arp,metadata={place.key},arp_op=1,arp_tpa={address}"
        yield Flow(ARP_ANSWER, 100, match, answer(mac, address), cookie(ARP_KIND, nic_id))


def answer(mac: str, address: str) -> str:
    return (
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
        f"set_field:{mac}->eth_src,set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        f"set_field:{mac}->arp_sha,set_field:{address}->arp_spa,in_port"
    )


def dhcp_flows(place: Place) -> Iterator[Flow]:
    if place.router is None:
        return
    mark = cookie(DHCP_KIND, place.view.id)
    asked = f"set_field:{place.router.mac}->eth_dst,goto_table:{FORWARD}"
    yield Flow(DHCP, 100, f"{DHCP_REQUEST},metadata={place.key}", asked, mark)
    # Only a router's packets come here from port 67; SOURCE_GUARD drops a guest's.
    yield Flow(DHCP, 100, f"{DHCP_REPLY},metadata={place.key}", f"goto_table:{FORWARD}", mark)
