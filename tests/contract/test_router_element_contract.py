"""What every router element keeps to, whatever it drives; the guide's example among them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from network import elements
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from network.types import Forwarding, Opening, Traffic
from network.vpn import Vpn
from tests.unit.network.routers import revised, router
from tests.unit.network.views import nic

GUIDE = Path(__file__).parents[2] / "api_docs" / "guides" / "network_elements.md"
SPEC = replace(
    router("a", [nic("a", "1", "host-1")]), id="router-a",
    forwardings=(Forwarding("198.51.100.10", "tcp", 80, 80, "10.1.1.11", 8080),),
    openings=(Opening("198.51.100.10", Traffic("tcp", 80, 80, sources=("192.0.2.0/24",))),),
)  # fmt: skip


def _of_the_guide(tmp_path, monkeypatch):
    """The example, put into the product as the guide tells."""
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    module = ModuleType("network.elements.file_filter")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)  # noqa: S102 - it is ours, and here to be run
    name, _, place = re.search(r'DRIVERS = \{\.\.\., "(.*?)(":) "(.*?)"\}', GUIDE.read_text()).groups()
    monkeypatch.setitem(elements.DRIVERS, name, place)
    return elements.driver(name)(module.FilterSettings(tmp_path))


ELEMENTS = {
    "simulator": lambda _directory, _monkeypatch: MemoryRouter(),
    "guide": _of_the_guide,
}
"""An empty element each, by the driver's name."""


@pytest.fixture(params=ELEMENTS)
def make(request, tmp_path, monkeypatch):
    """A function that makes the element anew over what is there, as an agent does that was started anew."""
    kept = {}

    def made():
        if request.param not in kept or request.param != "simulator":  # a simulated router lives in its process
            kept[request.param] = ELEMENTS[request.param](tmp_path, monkeypatch)
        return kept[request.param]

    return made


@pytest.fixture
def element(make):
    return make()


def test_a_router_comes_stays_and_goes(element):
    assert (element.list(), element.state(SPEC.id)) == ([], "absent")
    element.apply(SPEC)
    element.apply(SPEC)
    other = replace(SPEC, id="router-b")
    element.apply(other)
    assert (element.list(), element.state(SPEC.id)) == (["router-a", "router-b"], "running")
    element.remove(SPEC.id)
    element.remove(SPEC.id)
    assert (element.list(), element.state(SPEC.id), element.state(other.id)) == (["router-b"], "absent", "running")


def test_what_never_was_can_be_removed(element):
    element.remove("router-never")
    assert element.list() == []


def test_a_refused_state_leaves_the_older_one(element, tmp_path):
    element.apply(SPEC)
    before = {file.name: file.read_text() for file in tmp_path.iterdir()}
    for wrong in (revised(SPEC, domain="a\nb"), replace(SPEC, addresses=("not an address",))):
        with pytest.raises(InvalidViewError):
            element.apply(replace(wrong, generation=2))
    assert (element.list(), element.state(SPEC.id)) == (["router-a"], "running")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == before


def test_another_process_finds_what_was_made(make):
    make().apply(SPEC)
    again = make()
    assert again.list() == ["router-a"]
    again.apply(replace(SPEC, generation=2, forwardings=()))
    make().remove(SPEC.id)
    assert make().list() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="nftables are root's")
def test_the_examples_rules_are_nftables(tmp_path, monkeypatch):
    element = _of_the_guide(tmp_path, monkeypatch)
    element.apply(SPEC)
    file = tmp_path / "router-a.nft"
    assert "tcp dport 80 dnat to 10.1.1.11:8080" in file.read_text()
    argv = ["unshare", "--net", "sh", "-c", f"nft -f {file} && nft -f {file} && nft list ruleset"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = (
        "ip daddr 198.51.100.10 tcp dport 80 dnat to 10.1.1.11:8080",
        "ct original ip daddr 198.51.100.10 ip saddr 192.0.2.0/24 meta l4proto tcp ct original proto-dst 80-80 accept",
        "ip saddr 10.1.1.0/24 ip daddr != 10.1.1.0/24 snat to 198.51.100.10",
    )
    assert [rule for rule in wanted if rule not in done.stdout] == []
    for more in ({"vpn": Vpn()}, {"egress_open": False}):
        with pytest.raises(InvalidViewError, match="is to do more than"):
            element.apply(revised(SPEC, **more))
