"""Security groups and ACL lists with real packets: on one host and across two, in order, both ways, revoked."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from network.errors import InvalidViewError
from network.flow_tables.layout import RULE_KIND, cookie
from network.types import NetworkView, Policy, PolicyRule, Traffic
from tests.unit.network.lab import reaches, sh
from tests.unit.network.views import network, nic

OUTSIDE, ELSEWHERE = "203.0.113.9", "198.51.100.77"
EVERYTHING = PolicyRule("everything", "egress", Traffic("all"))
LISTENER = """
import socket, sys, threading
def answer(connection):
    while True:
        data = connection.recv(100)
        if not data:
            break
        connection.sendall(data)
for port in map(int, sys.argv[1:]):
    server = socket.create_server(("", port))
    def serve(server=server):
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
    threading.Thread(target=serve).start()
"""
TALKER = """
import socket, sys, time
source = (sys.argv[3], 0)
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20, source_address=source)
while True:
    connection.sendall(b"x")
    if not connection.recv(100):
        break
    print("x", flush=True)
    time.sleep(0.05)
"""
PORTS = (22, 80)


@dataclass
class World:
    lab: object
    guests: dict[str, str]
    views: list[NetworkView]

    def apply(self, *views: NetworkView) -> None:
        self.lab.apply(list(views))

    def opens(self, sender: str, address: str, port: int, source: str = "") -> bool:
        """Whether a TCP connection is answered, on a busy machine at last."""
        return any(self._is_answered(sender, address, port, source) for _ in range(10))

    def is_shut(self, sender: str, address: str, port: int, source: str = "") -> bool:
        return not self._is_answered(sender, address, port, source)

    def _is_answered(self, sender: str, address: str, port: int, source: str) -> bool:
        bind = f"connection.bind(({source!r}, 0));" if source else ""
        code = (f"import socket; connection = socket.socket(); connection.settimeout(0.7); {bind}"
                f"connection.connect(({address!r}, {port}))")  # fmt: skip
        line = ["ip", "netns", "exec", self.guests[sender], "/usr/bin/python3", "-c", code]
        return subprocess.run(line, capture_output=True, check=False).returncode == 0


def talk(world: World, sender: str, address: str, port: int, source: str = "") -> subprocess.Popen:
    line = ["ip", "netns", "exec", world.guests[sender], "/usr/bin/python3", "-c", TALKER, address, str(port), source]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def network_of(tenant: str, key: int) -> NetworkView:
    nics = [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2"), nic(tenant, "3", "host-1")]
    return network(tenant, key, [*nics, nic(tenant, "router", "host-3", "router")])


def listed(view: NetworkView, *rules: PolicyRule) -> NetworkView:
    return replace(view, acl=Policy("list", rules))


def grouped(view: NetworkView, rules: dict[str, list[PolicyRule]], held: dict[str, str]) -> NetworkView:
    """`held` names the group of a guest by the last character of its NIC."""
    nics = tuple(replace(one, groups=(held[one.id[-1]],)) if held.get(one.id[-1]) else one for one in view.nics)
    policies = tuple(Policy(name, tuple(found)) for name, found in rules.items())
    return replace(view, nics=nics, has_groups=True, groups=policies)


def ingress(name: str, port: int | None = None, *, allow: bool = True, group: str = "", sources=()) -> PolicyRule:
    return PolicyRule(name, "ingress", Traffic("tcp", port, port, sources=tuple(sources)), allow, group)


@pytest.fixture(scope="module")
def world(lab):
    """Two tenants with the same addresses; behind each router are two addresses of the outside."""
    views = [network_of("a", 1001), network_of("b", 1002)]
    guests, listening = {}, []
    for view in views:
        for one in view.nics:
            gateway = "" if one.role == "router" else "10.1.1.1"
            name = one.id[4:]
            guests[name] = lab.add_guest(name, one, gateway)
            if one.role == "router":
                for address in (OUTSIDE, ELSEWHERE):
                    sh("ip", "-n", guests[name], "address", "add", f"{address}/32", "dev", "lo")
                sh("ip", "netns", "exec", guests[name], "sysctl", "-qw", "net.ipv4.conf.all.arp_announce=2")
    for ns in guests.values():
        line = ["ip", "netns", "exec", ns, "/usr/bin/python3", "-c", LISTENER, *map(str, PORTS)]
        listening.append(subprocess.Popen(line))
    lab.apply(views)
    assert reaches(guests["a1"], "10.1.1.12")
    assert reaches(guests["b1"], OUTSIDE)
    built = World(lab, guests, views)
    assert built.opens("a1", "10.1.1.12", 80)
    yield built
    for process in listening:
        process.kill()
        process.wait()


def test_a_list_lets_in_what_it_allows_and_all_that_is_inside(world):
    view = listed(world.views[0], ingress("web", 80, sources=["203.0.113.0/24"]))
    world.apply(view, world.views[1])
    for guest in ("10.1.1.11", "10.1.1.12"):
        assert world.opens("arouter", guest, 80, OUTSIDE)
        assert world.is_shut("arouter", guest, 22, OUTSIDE)
        assert world.is_shut("arouter", guest, 80, ELSEWHERE)
        assert world.opens("arouter", guest, 22)  # the router for itself
    assert world.opens("a1", "10.1.1.12", 22)
    assert world.opens("a1", "10.1.1.13", 22)
    assert world.opens("a1", "10.1.1.1", 80)
    assert world.is_shut("a1", OUTSIDE, 80)
    assert world.opens("brouter", "10.1.1.11", 22, ELSEWHERE)  # the other tenant has no list
    assert world.opens("b1", OUTSIDE, 22)


def test_a_list_holds_what_leaves_a_tier(world):
    out = PolicyRule("out", "egress", Traffic("tcp", 80, 80, destinations=("203.0.113.0/24",)))
    world.apply(listed(world.views[0], out))
    assert world.opens("a1", OUTSIDE, 80)
    assert world.opens("a2", OUTSIDE, 80)
    assert world.is_shut("a1", OUTSIDE, 22)
    assert world.is_shut("a2", ELSEWHERE, 80)


def test_the_first_item_that_fits_holds(world):
    deny = ingress("no", 80, allow=False, sources=["203.0.113.9/32"])
    allow = ingress("yes")
    world.apply(listed(world.views[0], deny, allow))
    assert world.is_shut("arouter", "10.1.1.12", 80, OUTSIDE)
    assert world.opens("arouter", "10.1.1.12", 80, ELSEWHERE)
    assert world.opens("arouter", "10.1.1.12", 22, OUTSIDE)
    world.apply(listed(world.views[0], allow, deny))
    assert world.opens("arouter", "10.1.1.12", 80, OUTSIDE)


def test_groups_hold_between_guests_on_one_host_and_across(world):
    rules = {"web": [ingress("web", 80)], "clients": [EVERYTHING]}
    view = grouped(world.views[0], rules, {"1": "clients", "2": "web", "3": "web"})
    world.apply(view, world.views[1])
    for guest in ("10.1.1.12", "10.1.1.13"):
        assert world.opens("a1", guest, 80)
        assert world.is_shut("a1", guest, 22)
    assert world.is_shut("a2", "10.1.1.13", 80)  # nothing may leave it
    assert world.is_shut("a3", OUTSIDE, 80)
    assert world.opens("a3", "10.1.1.1", 80)  # its router it may always ask
    assert world.opens("a1", OUTSIDE, 80)
    assert world.is_shut("arouter", "10.1.1.11", 80, OUTSIDE)
    assert world.is_shut("arouter", "10.1.1.11", 80)
    assert world.opens("arouter", "10.1.1.12", 80, OUTSIDE)
    assert world.opens("b2", "10.1.1.13", 22)


def test_a_group_named_by_a_rule_is_its_members_in_this_network_alone(world):
    rules = {"servers": [ingress("from-clients", 80, group="clients")], "clients": [EVERYTHING], "others": [EVERYTHING]}
    held = {"1": "clients", "2": "servers", "3": "others"}
    views = [grouped(world.views[0], rules, held)]
    views.append(grouped(world.views[1], rules, {**held, "1": "others", "3": "clients"}))
    world.apply(*views)
    assert world.opens("a1", "10.1.1.12", 80)
    assert world.is_shut("a3", "10.1.1.12", 80)
    assert world.is_shut("b1", "10.1.1.12", 80)
    assert world.opens("b3", "10.1.1.12", 80)
    assert world.is_shut("arouter", "10.1.1.12", 80, OUTSIDE)
    world.apply(grouped(world.views[0], rules, {**held, "1": "others", "3": "clients"}))
    assert world.is_shut("a1", "10.1.1.12", 80)
    assert world.opens("a3", "10.1.1.12", 80)


@pytest.mark.parametrize("target", ["10.1.1.12", "10.1.1.13"])
def test_revoking_a_rule_cuts_the_connections_that_it_allowed(world, target):
    rules = {"web": [ingress("web", 80), ingress("ssh", 22)], "clients": [EVERYTHING]}
    held = {"1": "clients", "2": "web", "3": "web"}
    world.apply(grouped(world.views[0], rules, held))
    talkers = {port: talk(world, "a1", target, port) for port in PORTS}
    assert all(_tells(talker) for talker in talkers.values())
    world.apply(grouped(world.views[0], {**rules, "web": [ingress("ssh", 22)]}, held))
    time.sleep(0.5)
    for talker in talkers.values():
        _read(talker)
    assert _tells(talkers[22])
    time.sleep(0.5)
    after = _read(talkers[80])
    for talker in talkers.values():
        _end(talker)
    assert after == b""


def _end(talker: subprocess.Popen) -> None:
    talker.kill()
    talker.communicate()


def _read(talker) -> bytes:
    os.set_blocking(talker.stdout.fileno(), False)
    return talker.stdout.read() or b""


def _tells(talker, answers: int = 5, within: float = 20.0) -> bool:
    """Whether it has so many answers more, at last."""
    said, deadline = 0, time.monotonic() + within
    while said < 2 * answers and time.monotonic() < deadline:
        said += len(_read(talker))
        time.sleep(0.05)
    return said >= 2 * answers


def test_a_denial_put_in_front_cuts_too(world):
    allow = ingress("yes")
    world.apply(listed(world.views[0], allow))
    talker = talk(world, "arouter", "10.1.1.12", 80, OUTSIDE)
    assert _tells(talker)
    world.apply(listed(world.views[0], ingress("no", 80, allow=False), allow))
    time.sleep(0.5)
    _read(talker)
    time.sleep(0.7)
    after = _read(talker)
    _end(talker)
    assert after == b""


def test_each_rule_is_counted_on_its_own(world):
    rules = (ingress("web", 80), ingress("ssh", 22))
    world.apply(listed(world.views[0], *rules))
    names = [one.id for one in rules]
    time.sleep(2)
    before = Counter(world.lab.hosts[1].switch.rule_hits(names))
    for _ in range(3):
        assert world.opens("arouter", "10.1.1.12", 80, OUTSIDE)
    deadline = time.monotonic() + 30  # the datapath tells of its packets every half a second or so
    after = before
    while after["web"] - before["web"] < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
        after = Counter(world.lab.hosts[1].switch.rule_hits(names))
    assert after["web"] - before["web"] >= 3
    assert after["ssh"] == before["ssh"]
    assert cookie(RULE_KIND, "web") != cookie(RULE_KIND, "ssh")


def test_an_odd_rule_is_refused_and_nothing_else_notices(world):
    world.apply(*world.views)
    odd = listed(world.views[0], PolicyRule("odd", "ingress", Traffic("tcp", sources=("10.0.0.1/8",))))
    with pytest.raises(InvalidViewError, match="rule odd"):
        world.apply(odd, world.views[1])
    assert world.opens("a1", "10.1.1.12", 80)
    assert world.opens("b1", "10.1.1.12", 80)
