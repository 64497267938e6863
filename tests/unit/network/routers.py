"""Wanted states of virtual routers that the tests of this folder use."""

from __future__ import annotations

import base64
from dataclasses import fields, replace

from network.types import GuestLeg, Lease, NicView, PublicLeg, RouterSpec
from tests.unit.network.lab import ROUTERS
from tests.unit.network.views import nic

OUTSIDE = "198.51.100.1"


def lease(tenant: str, one: NicView, **options) -> Lease:
    name = one.id[-1]
    text = base64.b64encode(f"#!/bin/sh\necho {tenant}{name}\n".encode()).decode()
    plain = Lease(one.id, f"vm-{tenant}{name}", one.mac, one.address, f"host{name}", user_data=text)
    return replace(
        plain, password=f"secret-{tenant}{name}", zone_name="zone one", public_keys="key 1\nkey 2", **options
    )


def router(tenant: str, guests: list[NicView], **options) -> RouterSpec:
    number = ord(tenant) - ord("a") + 1
    public = PublicLeg(f"198.51.100.{10 * number}", 24, OUTSIDE, f"02:00:00:00:01:{number:02x}", "br-public")
    leg = GuestLeg(
        network_id=f"net-{tenant}",
        nic=nic(tenant, "router", "host-3", "router"),
        cidr="10.1.1.0/24",
        mtu=1458,
        domain=f"{tenant}.example",
        leases=tuple(lease(tenant, one) for one in guests),
        nameservers=(OUTSIDE,),
    )
    return revised(RouterSpec(id=ROUTERS[tenant], generation=1, legs=(leg,), public=public), **options)


def tier(number: int, guests: list[NicView] = (), **options) -> GuestLeg:
    """A leg of a VPC's router on host-3: tier `number` is 10.0.number.0/24."""
    own = NicView(f"nic-tier-{number}", f"02:00:00:00:02:{number:02x}", f"10.0.{number}.1", "host-3", "router")
    leases = tuple(replace(lease("v", one), hostname=f"{one.id[4:]}") for one in guests)
    plain = GuestLeg(f"net-tier-{number}", own, f"10.0.{number}.0/24", 1458, "vpc.example", leases, (OUTSIDE,))
    return replace(plain, **options)


def vpc_router(*legs: GuestLeg, **options) -> RouterSpec:
    public = PublicLeg("198.51.100.30", 24, OUTSIDE, "02:00:00:00:01:07", "br-public")
    plain = RouterSpec(ROUTERS["vpc"], 1, legs, vpc_id="vpc-1", inside="10.0.0.0/16", public=public)
    return replace(plain, **options)


def revised(spec: RouterSpec, **changes) -> RouterSpec:
    """The spec of a router with one leg, with other values of its own or of that leg."""
    names = {field.name for field in fields(GuestLeg)}
    leg = replace(spec.legs[0], **{name: value for name, value in changes.items() if name in names})
    return replace(spec, legs=(leg,), **{name: value for name, value in changes.items() if name not in names})
