"""Drivers by name, and the simulated ones."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from network import elements
from network.elements.base import BalancerElement, RouterElement
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from network.ovs import Switch
from network.simulator_switch import SimulatedSwitch
from tests.unit.network.routers import revised, router
from tests.unit.network.views import network, nic

GUESTS = [nic("a", "1", "host-1"), nic("a", "2", "host-2")]


@pytest.mark.parametrize("name", elements.DRIVERS)
def test_every_driver_has_the_methods_of_the_protocol(name):
    for method in ("apply", "remove", "list", "state"):
        wanted = inspect.signature(getattr(RouterElement, method)).parameters
        assert list(inspect.signature(getattr(elements.driver(name), method)).parameters) == list(wanted)


@pytest.mark.parametrize("name", elements.BALANCERS)
def test_every_balancer_has_the_methods_of_the_protocol(name):
    for method in ("apply", "remove", "list", "statistics"):
        wanted = inspect.signature(getattr(BalancerElement, method)).parameters
        assert list(inspect.signature(getattr(elements.driver(name), method)).parameters) == list(wanted)


def test_the_simulated_switch_has_the_methods_of_the_real_one():
    methods = [name for name, _ in inspect.getmembers(Switch, inspect.isfunction) if not name.startswith("_")]
    assert len(methods) == 15
    for name in methods:
        assert inspect.signature(getattr(SimulatedSwitch, name)) == inspect.signature(getattr(Switch, name))


def test_simulated_router():
    element, spec = MemoryRouter(), router("a", GUESTS)
    element.apply(spec)
    element.apply(revised(spec, generation=2))
    assert (element.list(), element.state(spec.id), element.specs[spec.id].generation) == ([spec.id], "running", 2)
    with pytest.raises(InvalidViewError):
        element.apply(revised(spec, domain="a\nb"))
    element.remove(spec.id)
    element.remove(spec.id)
    assert (element.list(), element.state(spec.id)) == ([], "absent")


def test_simulated_switch():
    switch, view = SimulatedSwitch("host-1"), network("a", 7, GUESTS)
    switch.ensure_bridges()
    assert switch.drift([view]) == ["-net-a"]
    switch.apply([view, network("b", 8, [nic("b", "1", "host-2")])])
    assert list(switch.views) == ["net-a"]
    assert switch.drift([view]) == []
    assert switch.drift([]) == ["+net-a"]
    assert (switch.plug("nic-a1", GUESTS[0].mac), switch.plug("nic-a1", GUESTS[0].mac)) == (True, False)
    assert set(switch.ports()) == {"nic-a1"}
    switch.unplug("nic-a1")
    switch.unplug("nic-a1")
    assert switch.ports() == {}
    with pytest.raises(InvalidViewError):
        switch.apply([replace(view, key=0)])
    assert switch.versions()["openvswitch"] == "simulator"
