from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.network.fabric import Fabric
from tests.unit.network.lab import Lab, reaches, sh
from tests.unit.network.sites import Site, build
from tests.unit.network.views import network, nic
from tests.unit.network.vpn_sites import Ear, Person, at_home

pytest.register_assert_rewrite("tests.unit.network.balanced")


@pytest.fixture(scope="module")
def lab():
    """Three hosts; needs root."""
    built = Lab(3)
    yield built
    built.remove()


@pytest.fixture(scope="module")
def fabric(lab):
    views = []
    for tenant, key in (("a", 1001), ("b", 1002)):
        nics = [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2"), nic(tenant, "3", "host-1")]
        views.append(network(tenant, key, [*nics, nic(tenant, "router", "host-3", "router")]))
    guests = {one.id[4:]: lab.add_guest(one.id[4:], one) for view in views for one in view.nics}
    lab.apply(views)
    assert reaches(guests["a1"], "10.1.1.12")
    return Fabric(lab, views, guests)


@pytest.fixture
def as_it_was(fabric):
    yield
    fabric.apply()


@pytest.fixture(scope="module")
def site(lab) -> Site:
    return build(lab)


@pytest.fixture
def running(site):
    for spec in site.specs.values():
        site.apply(spec)


@pytest.fixture
def addressed(site):
    for guest, ns in site.guests.items():
        sh("ip", "-n", ns, "address", "flush", "dev", "eth0")
        sh("ip", "-n", ns, "address", "add", f"10.1.1.1{guest[1]}/24", "dev", "eth0")
        sh("ip", "-n", ns, "route", "replace", "default", "via", "10.1.1.1")
    assert reaches(site.guests["a1"], "10.1.1.1")
    return site.guests


@pytest.fixture(scope="module")
def person(pair) -> Person:
    """Of the module's `pair`, which has a site's `lab`, `host`, `specs` and `apply`."""
    one = at_home(pair.lab, pair.host.ns)
    yield one
    one.daemon.end()


@pytest.fixture
def give(pair):
    """A function that gives a tenant's router a VPN, which it has until the end of the test."""
    given = set()

    def apply(tenant, vpn, **options):
        given.add(tenant)
        pair.apply(replace(pair.specs[tenant], vpn=vpn, **options))

    yield apply
    for tenant in given:
        pair.apply(pair.specs[tenant])


@pytest.fixture
def ear(pair):
    """Hears the public network from the beginning of the test."""
    one = Ear(pair.host.ns, "br-public")
    yield one
    one.close()
