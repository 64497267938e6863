"""What hardware devices must do for a tenant network, and what is left of it for the virtual router."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from manager.workflows.device_life import as_told
from manager.workflows.devices import Serving, is_gateway_by_device
from manager.workflows.router_spec import guest_leg, public_leg
from network import catalog
from network.hardware import BalancedNetwork, DevicePart
from network.types import NicView, RouterSpec

Parts = Mapping[str, tuple[DevicePart, ...]]
"""By id of the host that the devices are cabled to."""


def by_router(services: Mapping[str, str], rules: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `rules` (those of a RouterSpec) that are left for the virtual router."""
    if is_gateway_by_device(dict(services)):
        return {}
    if services.get("Lb") != catalog.NETSCALER:
        return dict(rules)
    return _without_balanced(rules)


def _without_balanced(rules: Mapping[str, Any]) -> dict[str, Any]:
    """What the gateway does where balancing is another's, whose addresses it must not answer for."""
    balanced = {one.address for one in rules.get("balancers", ())}
    kept = {**rules, "balancers": ()}
    for name in ("addresses", "openings"):
        kept[name] = tuple(one for one in rules.get(name, ()) if getattr(one, "address", one) not in balanced)
    return kept


def parts_of(
    facts: Any, nics: Iterable[tuple[NicView, str]], rules: Mapping[str, Any], devices: Mapping[str, Serving]
) -> Parts:
    """`facts` are those of the network's view, `nics` those of devices with the device's id, `rules` all that is
    published.
    """
    found: dict[str, tuple[DevicePart, ...]] = defaultdict(tuple)
    for nic, device_id in nics:
        device, vlan = devices[device_id]
        is_balancer = device.kind == catalog.OF_DEVICES[catalog.NETSCALER]
        part = DevicePart(
            device=as_told(device),
            nic_id=nic.id,
            cable=device.cable,
            vlan=vlan,
            router=None if is_balancer else _firewall(facts, nic, rules, vlan),
            balanced=_balancer(facts, nic, rules, vlan) if is_balancer else None,
        )
        found[nic.host_id] = (*found[nic.host_id], part)
    return dict(found)


def _firewall(facts: Any, nic: NicView, rules: Mapping[str, Any], vlan: int) -> RouterSpec:
    """Guests are given their addresses by somebody else, so it has no leases."""
    network = facts.Network
    own = _without_balanced(rules)
    leg = guest_leg(
        network,
        nic,
        (),
        facts.Zone,
        egress=own.pop("egress", ()),
        egress_open=facts.egress_default,
        vlan=vlan,
    )
    public = public_leg(facts.PublicAddress, facts.VlanIpRange, facts.kvm_label, network.public_mtu)
    return RouterSpec(id=network.id, generation=network.generation, legs=(leg,), public=public, **own)


def _balancer(facts: Any, nic: NicView, rules: Mapping[str, Any], vlan: int) -> BalancedNetwork:
    balancers = rules.get("balancers", ())
    addresses = {one.address for one in balancers}
    return BalancedNetwork(
        id=facts.Network.id,
        vlan=vlan,
        address=nic.address,
        cidr=facts.Network.cidr,
        balancers=balancers,
        openings=tuple(one for one in rules.get("openings", ()) if one.address in addresses),
    )
