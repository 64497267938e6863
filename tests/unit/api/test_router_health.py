"""Health checks of routers: asked of hosts, kept, shown, told by alerts, and repaired."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import Alert, Router, RouterHealthCheck
from manager.watch import watch
from manager.workflows.router_health import check_all
from network.health import RouterCheck
from tests.client import Refused
from tests.unit.api.live_cloud import costs, live_cloud, rows

BROKEN = RouterCheck("dns", False, "The name server at 10.1.1.1 does not answer.")


@pytest.fixture
def running(factory, tmp_path):
    cloud, _ = live_cloud(factory, tmp_path)
    cloud.deploy()
    cloud.settle()
    return cloud


def _router(api, **given):
    return api("listRouters", listall=True, **given)["router"][0]


def _element(cloud, router_id):
    """The element of the host that runs the router."""
    hosts = [runner.host for runner in cloud.runners.values() if runner.host.routers]
    return next(host.routers for host in hosts if router_id in host.routers.specs)


def _break(cloud, router_id, check=BROKEN):
    _element(cloud, router_id).faults[router_id] = check


def _look(cloud):
    check_all()
    cloud.settle(times=2)


def test_a_fresh_look_is_a_job_whose_results_stay(api, running):
    router = _router(api)
    assert api("getRouterHealthCheckResults", routerid=router["id"])["routerhealthchecks"]["healthchecks"] == []
    begun = api("getRouterHealthCheckResults", routerid=router["id"], performfreshchecks=True)["routerhealthchecks"]
    again = api("getRouterHealthCheckResults", routerid=router["id"], performfreshchecks=True)["routerhealthchecks"]
    assert (begun["routerid"], begun["jobid"], begun["jobstatus"]) == (router["id"], again["jobid"], 0)
    running.settle(times=2)
    job = api("queryAsyncJobResult", jobid=begun["jobid"])
    found = api("getRouterHealthCheckResults", routerid=router["id"])["routerhealthchecks"]
    assert job["jobstatus"] == 1
    assert [(c["checkname"], c["checktype"], c["success"], c["status"]) for c in found["healthchecks"]] == [
        ("dhcp", "advanced", True, "SUCCESS"),
        ("dns", "advanced", True, "SUCCESS"),
        ("interfaces", "basic", True, "SUCCESS"),
    ]
    assert all(c["lastupdated"] and c["details"] == "Simulated." for c in found["healthchecks"])
    assert "jobid" not in found


def test_what_fails_is_told_until_it_passes(api, factory, running):
    router = _router(api)
    _look(running)
    assert _router(api)["healthchecksfailed"] is False
    _break(running, router["id"])
    _look(running)
    watch()
    told = _router(api, healthchecksfailed=True, fetchhealthcheckresults=True)
    assert told["healthchecksfailed"] is True
    (failed,) = [check for check in told["healthcheckresults"] if not check["success"]]
    assert (failed["checkname"], failed["status"], failed["details"]) == ("dns", "FAILED", BROKEN.detail)
    assert "healthcheckresults" not in _router(api)
    assert api("listRouters", listall=True, healthchecksfailed=False) == {}
    (alert,) = api("listAlerts", type=9)["alert"]
    assert alert["name"] == "ALERT.SERVICE.DOMAINROUTER"
    assert alert["description"] == f"The router {router['name']} fails health checks. dns: {BROKEN.detail}"
    api("rebootRouter", id=router["id"])
    running.settle()
    _look(running)
    watch()
    assert _router(api)["healthchecksfailed"] is False
    assert [row.open for row in rows(factory, Alert, type=9)] == [None]


def test_settings_switch_it_off_and_leave_checks_out(api, factory, running):
    _break(running, _router(api)["id"])
    api("updateConfiguration", name="router.health.checks.enabled", value="false")
    _look(running)
    assert rows(factory, RouterHealthCheck) == []
    api("updateConfiguration", name="router.health.checks.enabled", value="true")
    api("updateConfiguration", name="router.health.checks.to.exclude", value="interfaces, dns")
    _look(running)
    assert [row.name for row in rows(factory, RouterHealthCheck)] == ["dhcp"]
    api("updateConfiguration", name="router.health.checks.results.fetch.interval", value="7")
    assert check_all() == 420.0


def test_a_router_is_made_anew_for_decisive_checks_once(api, factory, running):
    """One that fails the same at the next look was not helped by that."""
    api("updateConfiguration", name="router.health.checks.failures.to.recreate.vr", value="dns,firewall")
    router_id = _router(api)["id"]
    generation = factory.first(Router, id=router_id).generation
    _break(running, router_id, RouterCheck("dhcp", False, "dnsmasq does not run."))
    _look(running)
    assert factory.first(Router, id=router_id).generation == generation
    _break(running, router_id)
    _look(running)
    assert factory.first(Router, id=router_id).generation == generation + 1
    assert router_id not in _element(running, router_id).faults
    _break(running, router_id)
    _look(running)
    assert factory.first(Router, id=router_id).generation == generation + 1


def test_who_and_what_may_be_looked_at(api, factory, running):
    router = _router(api)
    with pytest.raises(Refused, match=r"431 .*routerid"):
        api("getRouterHealthCheckResults")
    api("stopRouter", id=router["id"])
    running.settle()
    with pytest.raises(Refused, match=r"431 The router .* is Stopped; it must be Running to be looked at"):
        api("getRouterHealthCheckResults", routerid=router["id"], performfreshchecks=True)
    _look(running)
    assert rows(factory, RouterHealthCheck) == []


def test_a_removed_router_leaves_no_results(api, factory, running):
    _look(running)
    assert rows(factory, RouterHealthCheck)
    api("destroyRouter", id=_router(api)["id"])
    running.settle()
    _look(running)
    assert rows(factory, RouterHealthCheck) == []


def test_lists_cost_the_same_however_long(api, factory):
    def make():
        router = factory(Router)
        with db.transaction(factory.engine) as session:
            session.add(RouterHealthCheck(router_id=router.id, name="dns", success=False, detail="It is not there."))

    found = costs(
        factory.engine, make, lambda: api("listRouters", listall=True, fetchhealthcheckresults=True, pagesize=-1)
    )
    assert found[1] == found[50], found
