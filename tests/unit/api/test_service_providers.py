"""Providers of network services and the element of virtual routers, as scripts that set up a zone use them."""

from __future__ import annotations

import pytest

from manager.models import Network, ServiceProvider, VirtualRouterElement
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud
from tests.unit.api.site import physical_network, result, zone


@pytest.fixture
def physical(api):
    return physical_network(api, zone(api))


def provider_of(api, physical):
    given = {"physicalnetworkid": physical, "name": "VirtualRouter"}
    (found,) = api("listNetworkServiceProviders", **given)["networkserviceprovider"]
    return found


def test_a_physical_network_comes_with_virtual_routers(api, physical):
    provider = provider_of(api, physical)
    assert (provider["name"], provider["state"]) == ("VirtualRouter", "Enabled")
    assert {"Dhcp", "Firewall", "PortForwarding", "SourceNat", "StaticNat"} <= set(provider["servicelist"])
    assert api("listNetworkServiceProviders", name="VirtualRouter", state="enabled", keyword="Rout")["count"] == 1
    assert api("listNetworkServiceProviders", state="Disabled") == {}
    (element,) = api("listVirtualRouterElements", nspid=provider["id"])["virtualrouterelement"]
    given = {"id": element["id"], "enabled": False}
    assert result(api, api("configureVirtualRouterElement", **given))["virtualrouterelement"]["enabled"] is False
    assert api("listVirtualRouterElements", enabled=True) == {}
    given = {"id": provider["id"], "state": "Disabled"}
    changed = result(api, api("updateNetworkServiceProvider", **given))["networkserviceprovider"]
    assert changed["state"] == "Disabled"


def test_a_provider_is_taken_away_and_given_again(api, factory, physical):
    with pytest.raises(Refused, match=r"431 The physical network .* has the provider VirtualRouter already"):
        api("addNetworkServiceProvider", physicalnetworkid=physical, name="virtualrouter")
    with pytest.raises(Refused, match=r"431 There is no network provider Nobody; there are VirtualRouter"):
        api("addNetworkServiceProvider", physicalnetworkid=physical, name="Nobody")
    network = factory(Network, physical_network_id=physical)
    provider = provider_of(api, physical)
    with pytest.raises(Refused, match=r"431 .* cannot be removed: it still has 1 networks on its physical network"):
        api("deleteNetworkServiceProvider", id=provider["id"])
    factory.change(network, removed=network.created)
    result(api, api("deleteNetworkServiceProvider", id=provider["id"]))
    assert [one["name"] for one in api("listNetworkServiceProviders")["networkserviceprovider"]] == ["VpcVirtualRouter"]
    assert api("listVirtualRouterElements") == {}
    added = api("addNetworkServiceProvider", physicalnetworkid=physical, name="virtualrouter")
    assert provider_of(api, physical)["id"] == added["id"]
    assert api("listVirtualRouterElements")["count"] == 1


def test_a_removed_physical_network_takes_its_providers_along(api, factory, physical):
    result(api, api("deletePhysicalNetwork", id=physical))
    assert api("listNetworkServiceProviders") == api("listVirtualRouterElements") == {}
    assert factory.first(VirtualRouterElement).removed is not None


@pytest.mark.parametrize("disabled", ["provider", "element"])
def test_no_router_is_made_where_they_are_disabled(api, factory, tmp_path, disabled):
    cloud, _ = live_cloud(factory, tmp_path)
    state = "Disabled" if disabled == "provider" else "Enabled"
    provider = factory(ServiceProvider, physical_network_id=cloud.physical_id, state=state)
    factory(VirtualRouterElement, provider_id=provider.id, enabled=disabled != "element")
    vm = cloud.deploy()
    cloud.settle()
    (shown,) = api("listVirtualMachines", id=vm)["virtualmachine"]
    assert shown["state"] == "Error"
    assert "the provider VirtualRouter of its physical network, or the element of that, is disabled" in shown["reason"]
