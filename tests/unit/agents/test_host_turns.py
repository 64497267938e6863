"""A router that ends while somebody else brings routers does not come back: nobody would ever remove it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from agents.contract import ApplyRouter
from agents.host.host import Host
from agents.journal import Journal
from network.elements.simulator import MemoryRouter
from network.simulator_switch import SimulatedSwitch
from network.types import Pair
from tests.unit.network.routers import router
from tests.unit.network.views import nic

SECONDS = 10


class Watched(MemoryRouter):
    """Calls `meanwhile` once, in the middle of what somebody does with a router."""

    meanwhile: Callable[[], None] | None = None

    def apply(self, spec):
        super().apply(spec)
        self._stop_here()

    def role(self, router_id):
        self._stop_here()
        return super().role(router_id)

    def _stop_here(self):
        todo, self.meanwhile = self.meanwhile, None
        if todo is not None:
            todo()


@pytest.fixture
def host(tmp_path):
    return Host("host-3", Journal(tmp_path / "j.db"), SimulatedSwitch("host-3"), Watched(), None, None)


def spec(tenant):
    ends = nic(tenant, "2", "host-3", "router"), nic(tenant, "3", "host-2", "router")
    return replace(router(tenant, [], vpn=None), pair=Pair(*ends, 100))


def ended(host, router_id):
    """A thread that ends the router; it has done so, or waits for its turn, when this is called as `meanwhile`."""
    other = threading.Thread(target=host.hold_router, args=(ApplyRouter(router_id),))

    def meanwhile():
        other.start()
        other.join(0.5)

    host.routers.meanwhile = meanwhile
    return other


def test_while_routers_are_looked_after(host):
    one = spec("a")
    host.hold_router(ApplyRouter(one.id, one))
    other = ended(host, one.id)
    host.keep_tunnels()
    other.join(SECONDS)
    assert not other.is_alive()
    assert host.routers.list() == []


def test_while_others_are_brought(host):
    first, second = sorted((spec("a"), spec("b")), key=lambda one: one.id)
    for one in (first, second):
        host.hold_router(ApplyRouter(one.id, one))
    other = ended(host, second.id)
    host.make_so()
    other.join(SECONDS)
    assert not other.is_alive()
    assert host.routers.list() == [first.id]
