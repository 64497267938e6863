"""Networks that change while virtual machines run in them."""

from __future__ import annotations

import pytest

from manager.models import FirewallRule, Network, NetworkOffering
from network.elements.simulator import MemoryRouter
from network.errors import NetworkError
from tests.client import Refused
from tests.unit.api.test_public_addresses import done, router_of, running  # noqa: F401 - running is a fixture

FEWER = ("Dhcp", "Dns", "SourceNat", "UserData")


def offering_of(factory, *services, **values):
    return factory(NetworkOffering, services=dict.fromkeys(services, "VirtualRouter"), **values)


def test_the_router_learns_a_new_suffix_and_a_new_policy(api, factory, running):  # noqa: F811 - a fixture
    cloud, user = running
    offering = offering_of(factory, *FEWER, egress_default=False)
    given = {"id": cloud.network_id, "networkdomain": "new.example", "networkofferingid": offering.id, "name": "new"}
    shown = done(api, cloud, api("updateNetwork", user, **given), user)["network"]
    assert (shown["name"], shown["networkdomain"], shown["networkofferingid"]) == ("new", "new.example", offering.id)
    assert shown["egressdefaultpolicy"] is False
    assert (router_of(cloud).legs[0].domain, router_of(cloud).legs[0].egress_open) == ("new.example", False)


def test_an_offering_must_have_what_the_network_uses(api, factory, running):  # noqa: F811 - a fixture
    cloud, user = running
    offering = offering_of(factory, *FEWER, name="fewer")
    factory(FirewallRule, network_id=cloud.network_id)
    with pytest.raises(Refused, match=r"431 The network net1 uses Firewall, which the offering fewer lacks"):
        api("updateNetwork", user, id=cloud.network_id, networkofferingid=offering.id)
    poor = offering_of(factory, "Dhcp", "Firewall", name="poor")
    with pytest.raises(Refused, match=r"431 The network net1 uses Dns, SourceNat, UserData, which"):
        api("updateNetwork", user, id=cloud.network_id, networkofferingid=poor.id)
    closed = offering_of(factory, *FEWER, "Firewall", state="Disabled", name="closed")
    with pytest.raises(Refused, match=r"431 The network offering closed is Disabled"):
        api("updateNetwork", user, id=cloud.network_id, networkofferingid=closed.id)
    with pytest.raises(Refused, match=r"431 x_y is not a DNS suffix"):
        api("updateNetwork", user, id=cloud.network_id, networkdomain="x_y")


def test_a_change_that_the_router_refuses_is_taken_back(api, factory, running, monkeypatch):  # noqa: F811 - a fixture
    cloud, user = running
    before = factory.first(Network, id=cloud.network_id).network_domain
    apply = MemoryRouter.apply

    def refuse(router, spec):
        if spec.legs[0].domain != before:
            raise NetworkError("planted")
        apply(router, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    job = api("updateNetwork", user, id=cloud.network_id, networkdomain="new.example")["jobid"]
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job)["jobresult"]["errortext"] == "planted"
    assert factory.first(Network, id=cloud.network_id).network_domain == router_of(cloud).legs[0].domain == before


def test_an_offering_may_bring_the_first_router(api, factory, running, monkeypatch):  # noqa: F811 - a fixture
    cloud, user = running
    network = cloud.add_network("bare")
    bare = offering_of(factory)
    factory.change(factory.first(Network, id=network), offering_id=bare.id)
    cloud.deploy("alone", network)
    cloud.settle()
    assert api("listRouters", listall=True)["count"] == 1
    offering = offering_of(factory, *FEWER)

    apply = MemoryRouter.apply

    def refuse(router, spec):
        if spec.legs[0].network_id == network:
            raise NetworkError("planted")
        apply(router, spec)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse)
        job = api("updateNetwork", user, id=network, networkofferingid=offering.id)["jobid"]
        cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job)["jobstatus"] == 2
    assert api("listRouters", listall=True)["count"] == 1
    done(api, cloud, api("updateNetwork", user, id=network, networkofferingid=offering.id), user)
    routers = api("listRouters", listall=True)
    assert (routers["count"], {router["state"] for router in routers["router"]}) == (2, {"Running"})
    assert api("listDrift") == api("listOrphans") == {}
