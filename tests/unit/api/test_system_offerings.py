"""Service offerings of virtual routers: who sees them, what takes them, what they mean to a router."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import Host, NetworkOffering, Router, ServiceOffering, Template, Zone
from manager.models.catalog import DEFAULT_ROUTER_OFFERING
from manager.seed import seed
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud

SIZE = {"cpunumber": 1, "cpuspeed": 500, "memory": 128}
KIND = {"guestiptype": "Isolated", "traffictype": "Guest"}


@pytest.fixture
def seeded(engine):
    with db.transaction(engine) as session:
        seed(session)


@pytest.fixture
def router_offering(api):
    return api("createServiceOffering", name="tagged", issystem=True, hosttags="edge", **SIZE)["serviceoffering"]


def test_only_root_administrators_see_them(api, tenant, router_offering, factory):
    assert (router_offering["issystem"], router_offering["systemvmtype"]) == (True, "domainrouter")
    assert api("listServiceOfferings") == api("listServiceOfferings", id=router_offering["id"]) == {}
    (shown,) = api("listServiceOfferings", issystem=True, systemvmtype="DomainRouter")["serviceoffering"]
    assert shown == router_offering
    with pytest.raises(Refused, match="431 Only root administrators see"):
        api("listServiceOfferings", tenant, issystem=True)
    given = {"zoneid": factory(Zone).id, "templateid": factory(Template, is_public=True, state="Ready").id}
    for caller in (tenant, None):
        with pytest.raises(Refused, match=r"431 .*(entity does not exist|is for virtual routers)"):
            api("deployVirtualMachine", caller, serviceofferingid=router_offering["id"], **given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"issystem": True, "tags": "ssd"}, "virtual routers has no tags"),
        ({"issystem": True, "offerha": True, "rootdisksize": 3}, "no offerha and no rootdisksize"),
        ({"systemvmtype": "domainrouter"}, "goes with issystem=true"),
        ({"issystem": True, "systemvmtype": "consoleproxy"}, "consoleproxy is none of domainrouter"),
    ],
)
def test_what_a_router_has_not_is_refused(api, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createServiceOffering", name="odd", **SIZE, **given)


def test_the_offering_of_the_cloud_stays(api, engine, seeded):
    (shown,) = api("listServiceOfferings", issystem=True)["serviceoffering"]
    assert (shown["id"], shown["name"]) == (DEFAULT_ROUTER_OFFERING, "System Offering For Software Router")
    assert (shown["defaultuse"], shown["cpunumber"], shown["memory"]) == (True, 1, 256)
    with pytest.raises(Refused, match=r"431 .*comes with the cloud and cannot be deleted"):
        api("deleteServiceOffering", id=shown["id"])
    with pytest.raises(Refused, match=r"431 .*has no storagetags"):
        api("updateServiceOffering", id=shown["id"], storagetags="x")


def test_seeding_again_gives_routers_and_offerings_from_before_the_default(api, engine, factory):
    bare = factory(NetworkOffering, services={"Dhcp": "VirtualRouter"})
    other = factory(NetworkOffering, services={"Dhcp": "Other"})
    router = factory(Router)
    with db.transaction(engine) as session:
        seed(session)
    assert factory.first(NetworkOffering, id=bare.id).service_offering_id == DEFAULT_ROUTER_OFFERING
    assert factory.first(NetworkOffering, id=other.id).service_offering_id is None
    (shown,) = api("listRouters", id=router.id)["router"]
    assert shown["serviceofferingname"] == "System Offering For Software Router"


def test_network_offerings_name_that_of_their_routers(api, tenant, seeded, router_offering, factory):
    given = {"supportedservices": "Dhcp", "enable": True, **KIND}
    plain = api("createNetworkOffering", name="plain", **given)["networkoffering"]
    assert plain["serviceofferingid"] == DEFAULT_ROUTER_OFFERING
    tagged = api("createNetworkOffering", name="tagged", serviceofferingid=router_offering["id"], **given)
    (shown,) = api("listNetworkOfferings", tenant, name="tagged")["networkoffering"]
    assert shown["serviceofferingid"] == tagged["networkoffering"]["serviceofferingid"] == router_offering["id"]
    guests = factory(ServiceOffering)
    with pytest.raises(Refused, match=r"431 .*is not for virtual routers"):
        api("createNetworkOffering", name="odd", serviceofferingid=guests.id, **given)
    assert api("listNetworkOfferings", name="odd") == {}


def test_a_router_runs_where_its_offering_says(api, factory, tmp_path):
    cloud, _ = live_cloud(factory, tmp_path)
    offering = factory(ServiceOffering, name="edge", system_vm_type="domainrouter", host_tags="edge")
    factory.change(factory.first(NetworkOffering, availability="Required"), service_offering_id=offering.id)
    hosts = [host["id"] for host in api("listHosts", type="Routing")["host"]]
    vm = cloud.deploy()
    cloud.settle()
    (failed,) = api("listVirtualMachines", id=vm)["virtualmachine"]
    assert failed["state"] == "Error"
    assert "with the host tags edge, so the router has no place" in failed["reason"]
    factory.change(factory.first(Host, id=hosts[-1]), tags="ssd,edge")
    cloud.deploy()
    cloud.settle()
    (router,) = api("listRouters", listall=True)["router"]
    assert (router["hostid"], router["serviceofferingname"]) == (hosts[-1], "edge")
    assert factory.first(Host, id=hosts[-1]).cpu_used <= 500


def test_a_stopped_router_gets_another(api, factory, tmp_path):
    cloud, _ = live_cloud(factory, tmp_path)
    cloud.deploy()
    cloud.settle()
    (router,) = api("listRouters", listall=True)["router"]
    wanted = factory(ServiceOffering, name="edge", system_vm_type="domainrouter", host_tags="edge")
    given = {"id": router["id"], "serviceofferingid": wanted.id}
    with pytest.raises(Refused, match=r"431 .*is Running; it must be Stopped"):
        api("changeServiceForRouter", **given)
    api("stopRouter", id=router["id"])
    cloud.settle()
    with pytest.raises(Refused, match=r"431 .*is not for virtual routers"):
        api("changeServiceForRouter", id=router["id"], serviceofferingid=factory(ServiceOffering).id)
    assert api("changeServiceForRouter", **given)["router"]["serviceofferingname"] == "edge"
    (other,) = [host["id"] for host in api("listHosts")["host"] if host["id"] != router["hostid"]][:1]
    factory.change(factory.first(Host, id=other), tags="edge")
    api("startRouter", id=router["id"])
    cloud.settle()
    (router,) = api("listRouters", listall=True)["router"]
    assert (router["state"], router["hostid"]) == ("Running", other)
