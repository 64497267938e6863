"""With real packets: a router that serves a network whose gateway is something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.network.lab import reaches

OWN, GATEWAY = "10.1.1.200", "10.1.1.12"


@pytest.fixture(params=[{}, {"overlay": "vlan", "key": 77, "trunk": "br-phy", "is_flat": True}], ids=["gre", "flat"])
def apart(site, request):
    """The router of tenant a has an address of its own, and the guest a2 has that of the gateway."""
    spec, view = site.specs["a"], site.views[0]
    (leg,) = spec.legs
    nic = replace(leg.nic, address=OWN)
    nics = tuple(nic if one.id == nic.id else one for one in view.nics)
    site.lab.apply([replace(view, nics=nics, gateway=GATEWAY, gateway_outside=True, **request.param), *site.views[1:]])
    site.apply(replace(spec, legs=(replace(leg, nic=nic, gateway=GATEWAY),), public=None))
    yield
    site.lab.apply(site.views)
    site.apply(spec)


@pytest.mark.usefixtures("apart")
def test_guests_leave_by_the_gateway_and_are_served_by_the_router(site):
    assert "event=bound ip=10.1.1.12" in site.ask_dhcp("a2")
    said = site.ask_dhcp("a1")
    assert f"event=bound ip=10.1.1.11 mask=24 router={GATEWAY} dns={OWN}" in said
    assert f"routes=169.254.169.254/32 {OWN} 0.0.0.0/0 {GATEWAY}" in said
    assert reaches(site.guests["a1"], GATEWAY, 20)
    assert reaches(site.guests["a1"], OWN, 20)
    answer = site.fetch("a1", f"http://{OWN}/latest/meta-data/local-ipv4")
    assert answer == "200 10.1.1.11"
