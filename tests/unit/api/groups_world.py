"""A network with security groups in the cloud behind the API, and what its hosts hold of it."""

from __future__ import annotations

from typing import Any

from network.types import NetworkView
from tests.unit.api.live_cloud import run

OFFERED = "Dhcp,Dns,SourceNat,UserData,SecurityGroup"


def guarded_network(api, cloud, user, name: str = "guarded") -> str:
    """The id of a network with security groups, of the user."""
    given = {"name": f"offering of {name}", "displaytext": "d", "guestiptype": "Isolated", "traffictype": "Guest"}
    offering = api("createNetworkOffering", supportedservices=OFFERED, enable=True, **given)["networkoffering"]
    providers = {one["name"]: one["provider"][0]["name"] for one in offering["service"]}
    assert providers["SecurityGroup"] == "SecurityGroupProvider"
    made = {"zoneid": cloud.zone_id, "networkofferingid": offering["id"]}
    return api("createNetwork", user, name=name, **made)["network"]["id"]


def views(cloud, network_id: str) -> list[NetworkView]:
    """What each host that holds the network has been told last."""
    switches = [runner.host.switch for runner in cloud.runners.values() if runner.host.hypervisor]
    return [switch.views[network_id] for switch in switches if network_id in switch.views]


def policies(cloud, network_id: str) -> dict[str, Any]:
    """By id: the policies of the network, which all its hosts have been told alike."""
    found = [view.groups for view in views(cloud, network_id)]
    assert found
    assert all(one == found[0] for one in found)
    return {policy.id: policy.rules for policy in found[0]}


def groups_of(cloud, network_id: str, address: str) -> set[str]:
    """The policies that all hosts hold the guest of the address to."""
    found = [set(nic.groups) for view in views(cloud, network_id) for nic in view.nics if nic.address == address]
    assert found
    assert all(one == found[0] for one in found)
    return found[0]


def authorize(api, cloud, user, group: str, direction: str = "Ingress", **given: Any) -> list[dict[str, Any]]:
    """The rules that were made."""
    made = run(api, cloud, user, f"authorizeSecurityGroup{direction}", securitygroupid=group, **given)
    return made["securitygroup"][f"{direction.lower()}rule"]
