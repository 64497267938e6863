"""Networks and VPCs that move to other offerings, with the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import Network, NetworkOffering, VpcOffering
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud, rows, run
from tests.unit.api.test_vpcs import TIER_OFFERING, new_tier, new_vpc, router_of


@pytest.fixture
def site(api, factory, tmp_path):
    return live_cloud(factory, tmp_path)


def test_isolation_methods(api):
    names = [one["name"] for one in api("listNetworkIsolationMethods")["isolationmethod"]]
    assert names == ["GRE", "VXLAN", "VLAN"]


def test_a_network_moves_with_its_rules(api, factory, site):
    cloud, user = site
    vm = cloud.deploy()
    cloud.settle()
    (address,) = api("listPublicIpAddresses", user, listall=True)["publicipaddress"]
    rule = {
        "protocol": "tcp",
        "publicport": 80,
        "privateport": 80,
        "virtualmachineid": vm,
        "ipaddressid": address["id"],
    }
    run(api, cloud, user, "createPortForwardingRule", **rule)
    network = rows(factory, Network, id=cloud.network_id)[0]
    own = factory.first(NetworkOffering, id=network.offering_id)
    other = factory(NetworkOffering, services=own.services, egress_default=not own.egress_default, state="Enabled")
    moved = run(api, cloud, None, "migrateNetwork", networkid=network.id, networkofferingid=other.id)["network"]
    assert moved["networkofferingid"] == other.id
    assert len(router_of(cloud).forwardings) == 1
    assert router_of(cloud).legs[0].egress_open is other.egress_default
    with pytest.raises(Refused, match=r"431 .* already"):
        api("migrateNetwork", networkid=network.id, networkofferingid=other.id)
    fewer = factory(NetworkOffering, services={"Dhcp": "VirtualRouter"}, state="Enabled")
    with pytest.raises(Refused, match=r"431 .*which the offering .* lacks"):
        api("migrateNetwork", networkid=network.id, networkofferingid=fewer.id)
    with pytest.raises(Refused, match=r"432"):
        api("migrateNetwork", user, networkid=network.id, networkofferingid=own.id)


def test_a_vpc_moves_with_its_tiers(api, factory, site, monkeypatch):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    tier = new_tier(api, factory, cloud, user, vpc)
    cloud.deploy("vm1", tier["id"])
    cloud.settle()
    plain = factory.first(VpcOffering, name="Default VPC offering")
    of_tier = factory.first(NetworkOffering, name=TIER_OFFERING)
    other = factory(VpcOffering, services=plain.services, state="Enabled")
    slow = factory(NetworkOffering, services=of_tier.services, state="Enabled", network_rate=5)
    few = factory(VpcOffering, services={"SourceNat": "VpcVirtualRouter"}, state="Enabled")
    two = factory.first(VpcOffering, name="Redundant VPC offering")
    with pytest.raises(Refused, match=r"431 .*lacks it"):
        api("migrateVPC", vpcid=vpc["id"], vpcofferingid=few.id)
    with pytest.raises(Refused, match=r"431 .*makeredundant gives a VPC a second one"):
        api("migrateVPC", vpcid=vpc["id"], vpcofferingid=two.id)
    given = {"vpcid": vpc["id"], "vpcofferingid": other.id}
    entry = {"tiernetworkofferings[0].networkid": tier["id"], "tiernetworkofferings[0].networkofferingid": slow.id}
    with pytest.raises(Refused, match=r"431 .*is no tier of VPC"):
        api("migrateVPC", params={**entry, "tiernetworkofferings[0].networkid": cloud.network_id}, **given)
    with pytest.raises(Refused, match=r"431 There is no network offering"):
        api("migrateVPC", params={**entry, "tiernetworkofferings[0].networkofferingid": vpc["id"]}, **given)

    apply, refusals = MemoryRouter.apply, ["not now"]

    def refuse(self, spec):
        if refusals:
            raise InvalidViewError(refusals.pop())
        apply(self, spec)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse)
        answer = api("migrateVPC", params=entry, **given)
        cloud.settle()
    assert "not now" in api("queryAsyncJobResult", jobid=answer["jobid"])["jobresult"]["errortext"]
    assert api("listVPCs", user, id=vpc["id"])["vpc"][0]["vpcofferingid"] == plain.id
    moved = run(api, cloud, None, "migrateVPC", params=entry, **given)["vpc"]
    assert moved["vpcofferingid"] == other.id
    assert moved["network"][0]["networkofferingid"] == slow.id
