"""The load balancer of a virtual router with real connections; what tenants may expect of any is in balanced.py."""

from __future__ import annotations

import csv
import io
import socket
import time
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from network.balancing import Balancer
from network.elements import balancer as element
from network.elements.balancer_files import section_name
from network.errors import RouterFailedError
from network.names import router_namespace
from network.types import Opening
from tests.unit.network.balanced import (  # noqa: F401 - run here over this module's router
    FIRST,
    PORT,
    SECOND,
    TWO,
    ask,
    names,
    opened,
    test_a_dead_guest_is_left_out_within_seconds_and_comes_back,
    test_a_guest_that_answers_wrongly_is_left_out,
    test_a_source_keeps_its_guest,
    test_connections_survive_changes_and_end_with_their_rule,
    test_cookies_of_guests_and_addresses_lead_back_also_after_a_change,
    test_guests_are_told_who_asks,
    test_no_connection_is_refused_while_it_changes,
    test_only_sources_of_the_rule_and_openings_of_the_address_come_in,
    test_round_robin_takes_turns,
    test_the_balancers_cookie_leads_back_also_after_a_change,
    test_the_guest_with_fewest_connections_is_next,
    test_tls_ends_at_the_balancer,
    web,
)
from tests.unit.network.balancers import balancer, web_certificate
from tests.unit.network.lab import ROUTERS, end, inside, reaches, sh
from tests.unit.network.routers import OUTSIDE
from tests.unit.network.sites import PUBLIC, Site

pytestmark = pytest.mark.usefixtures("running")


@dataclass
class Gold:
    """Tenant a's router with two more addresses."""

    site: Site

    @property
    def guests(self) -> dict[str, str]:
        return self.site.guests

    def change(self, *balancers: Balancer, openings: tuple[Opening, ...] | None = None) -> None:
        openings = opened(balancers, openings)
        spec = replace(self.site.specs["a"], addresses=(FIRST, SECOND), balancers=balancers, openings=openings)
        self.site.apply(spec)

    def dead(self) -> int:
        said = element.daemon(ROUTERS["a"], self.site.element._home(ROUTERS["a"])).ask("show stat")
        rows = csv.DictReader(io.StringIO(said))
        return sum(row["# pxname"] == section_name(TWO.id) and row["status"].startswith("DOWN") for row in rows)


@pytest.fixture
def balanced(site, addressed) -> Gold:
    for guest in ("a1", "a2"):
        assert reaches(addressed[guest], OUTSIDE)
    return Gold(site)


@pytest.fixture
def webs(balanced):
    with web(balanced.guests["a1"], "a1"), web(balanced.guests["a2"], "a2"):
        yield


def test_members_see_the_router_and_by_the_proxy_protocol_who_asks(site, balanced, webs):
    balanced.change(TWO)
    assert ask()[1] == "10.1.1.1"
    assert site.element.state(ROUTERS["a"]) == "running"
    with inside(site.guests["a2"]):
        server = socket.create_server(("", 8090))
    with closing(server):
        balanced.change(balancer(SECOND, "2", id="balancer-2", protocol="tcp-proxy", member_port=8090))
        with inside(PUBLIC), socket.create_connection((SECOND, PORT), 2):
            server.settimeout(3)
            deadline, told = time.monotonic() + 20, b""
            while f"PROXY TCP4 {OUTSIDE} {SECOND} ".encode() not in told and time.monotonic() < deadline:
                taken, _ = server.accept()
                told = taken.recv(200)
                taken.close()
    assert f"PROXY TCP4 {OUTSIDE} {SECOND} ".encode() in told


def test_keys_are_for_root_only_and_go_with_their_balancer(site, balanced):
    secret, _ = web_certificate()
    balanced.change(replace(TWO, port=443, protocol="ssl", certificate=secret))
    files = list((site.lab.dir / "routers").rglob("tls-*.pem"))
    assert [path.stat().st_mode & 0o077 for path in files] == [0]
    balanced.change(TWO)
    assert not list((site.lab.dir / "routers").rglob("tls-*.pem"))


def test_guests_of_any_tenant_come_in_by_the_public_address(site, balanced, webs):
    balanced.change(TWO)
    assert ask(ns=site.guests["a1"])[0]
    assert ask(ns=site.guests["b1"])[0]


def test_without_balancers_nothing_runs(site, balanced):
    balanced.change(TWO)
    balanced.change()
    assert "haproxy" not in site.daemons(ROUTERS["a"])


def test_applying_again_changes_nothing_and_a_dead_balancer_comes_back(site, balanced, webs):
    balanced.change(TWO)
    namespace = router_namespace(ROUTERS["a"])
    before = set(sh("ip", "netns", "pids", namespace).split())
    balanced.change(TWO)
    assert set(sh("ip", "netns", "pids", namespace).split()) == before
    home = site.element._home(ROUTERS["a"])
    for pid in element.daemon(ROUTERS["a"], home).pids():
        end(pid)
    assert site.element.state(ROUTERS["a"]) == "degraded"
    balanced.change(TWO)
    assert site.element.state(ROUTERS["a"]) == "running"
    assert ask()[0]


def test_a_configuration_that_is_refused_leaves_what_was(site, balanced, webs, monkeypatch):
    balanced.change(TWO)
    good = element.haproxy_conf
    monkeypatch.setattr(element, "haproxy_conf", lambda *given: good(*given) + "nonsense\n")
    with pytest.raises(RouterFailedError, match="unknown keyword 'nonsense'"):
        balanced.change(replace(TWO, algorithm="source"))
    assert names(4) == {"a1": 2, "a2": 2}
    monkeypatch.undo()
    balanced.change(replace(TWO, algorithm="source"))
    assert len(names(4)) == 1


def test_removal_leaves_nothing(site, balanced, webs):
    balanced.change(TWO)
    daemon = element.daemon(ROUTERS["a"], site.element._home(ROUTERS["a"]))
    assert daemon.pids()
    site.remove(ROUTERS["a"])
    assert not daemon.pids()
    assert not list((site.lab.dir / "routers").rglob("haproxy*"))
