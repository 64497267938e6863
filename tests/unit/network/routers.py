"""Wanted states of virtual routers that the tests of this folder use."""

from __future__ import annotations

import base64
from dataclasses import replace

from network.types import Lease, NicView, PublicLeg, RouterSpec
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
    plain = RouterSpec(
        id=ROUTERS[tenant],
        network_id=f"net-{tenant}",
        generation=1,
        nic=nic(tenant, "router", "host-3", "router"),
        cidr="10.1.1.0/24",
        mtu=1458,
        domain=f"{tenant}.example",
        public=public,
        leases=tuple(lease(tenant, one) for one in guests),
        nameservers=(OUTSIDE,),
    )
    return replace(plain, **options)
