"""runDiagnostics through the API, and the options that its tools may be given."""

from __future__ import annotations

import pytest

from agents.inquiry import DiagnoseRouter
from manager.models import AgentCommandRow, Router
from network.diagnostics import UnsuitableOptionError, options_in
from tests.client import Refused
from tests.unit.api.live_cloud import change, run


@pytest.fixture
def router(factory, cloud, deploy) -> Router:
    deploy(name="one")
    return factory.first(Router)


def test_the_router_is_told_to_run_the_tool_and_what_it_said_is_shown(api, factory, cloud, admin, router):
    said = run(api, cloud, admin, "runDiagnostics", targetid=router.id, type="ping", ipaddress="192.0.2.1",
               params={"params": "-c 2 -W 1.5"})["diagnostics"]  # fmt: skip
    assert (said["exitcode"], said["stderr"]) == ("1", "ping: a simulated router sends no packets.")
    command = factory.first(AgentCommandRow, name=DiagnoseRouter.name)
    asked = {"router_id": router.id, "tool": "ping", "address": "192.0.2.1", "options": ["-c", "2", "-W", "1.5"]}
    assert command.arguments == asked


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"type": "nmap"}, "nmap is none of ping, traceroute, arping"),
        ({"ipaddress": "$(reboot)"}, "ipaddress"),
        ({"params": {"params": "-f"}}, "ping cannot be given -f here; there are -c, -i, -s, -W, -t, -q, -D"),
        ({"params": {"params": "-c 99999"}}, "The option -c of ping needs a fitting value, not '99999'"),
        ({"type": "arping", "params": {"params": "-I eth0;id"}}, "The option -I of arping needs a fitting value"),
    ],
)
def test_what_cannot_be_run_is_refused(api, admin, router, given, reason):
    ask = {"targetid": router.id, "type": "ping", "ipaddress": "192.0.2.1", **given}
    with pytest.raises(Refused, match=reason):
        api("runDiagnostics", admin, **ask)


def test_a_router_that_does_not_run_runs_nothing(api, factory, cloud, admin, router):
    change(factory, Router, router.id, state="Stopped", host_id=None)
    job = api("runDiagnostics", admin, targetid=router.id, type="ping", ipaddress="192.0.2.1")["jobid"]
    cloud.settle()
    failed = api("queryAsyncJobResult", admin, jobid=job)["jobresult"]
    assert failed["errortext"] == f"The router {router.name} is Stopped, so nothing can be run in it."


def test_an_option_without_its_value_is_refused():
    assert options_in("traceroute", "-I -m 3") == ("-I", "-m", "3")
    with pytest.raises(UnsuitableOptionError, match="-m of traceroute needs a fitting value, not ''"):
        options_in("traceroute", "-m")
