"""Packet captures through the API, over the in-process cloud: bounds, places, links, and what they go with."""

from __future__ import annotations

import datetime as dt

import pytest

from agents.host import inquiry
from manager import capture_site
from manager.models import AgentCommandRow, Host, Nic, PacketCapture, utcnow
from manager.workflows.housekeeping import forget_captures
from network.capture import CaptureFacts, CaptureSpec, pcap_header
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import done, rows, run, statements

SHORT = {"seconds": 1}


class Full:
    """A recording of two frames, which fill it."""

    def __init__(self, _device: str, spec: CaptureSpec) -> None:
        self.spec = spec

    def stop(self) -> CaptureFacts:
        return CaptureFacts(pcap_header(self.spec.snap_length) + b"two frames", 2, 1, "packets")


@pytest.fixture
def site(cloud, user, deploy):
    """The cloud, its user, and a VM; what its hosts record are two frames."""
    for runner in cloud.runners.values():
        runner.host.recorder = Full
    return cloud, user, deploy(name="one")


def capture(api, cloud, caller, vm, **more):
    given = SHORT | {"virtualmachineid": vm["id"]} | more
    return run(api, cloud, caller, "createPacketCapture", **given)["packetcapture"]


def test_a_capture_becomes_a_file(api, factory, site):
    cloud, user, vm = site
    nic = vm["nic"][0]
    asked = {
        "nicid": nic["id"],
        "virtualmachineid": None,
        "protocol": "tcp",
        "port": 80,
        "packets": 2,
        "maxbytes": 5000,
    }
    made = capture(api, cloud, user, vm, **asked, ipaddress=nic["ipaddress"], snaplength=64)
    assert (made["state"], made["packetcount"], made["droppedcount"]) == ("Ready", 2, 1)
    assert (made["virtualmachinename"], made["networkid"]) == ("one", nic["networkid"])
    assert (made["protocol"], made["port"], made["ipaddress"]) == ("tcp", 80, nic["ipaddress"])
    assert made["reason"] == "It had as many packets as were wanted."
    response = api.client.get(made["url"])
    assert (response.status_code, response.mimetype) == (200, capture_site.PCAP)
    assert response.data == pcap_header(64) + b"two frames"
    assert len(response.data) == made["size"]
    assert response.headers["Content-Disposition"] == f'attachment; filename="{made["id"]}.pcap"'
    (row,) = rows(factory, PacketCapture)
    assert (row.running, row.wanted["size"]) == (None, 5000)
    assert {command.answer for command in rows(factory, AgentCommandRow, name="capture.end")} == {None}
    assert not any(runner.host.captures for runner in cloud.runners.values())
    assert api("listPacketCaptures", user, nicid=nic["id"])["packetcapture"][0]["id"] == made["id"]
    api("deletePacketCapture", user, id=made["id"])
    assert api("listPacketCaptures", user) == {}
    assert api.client.get(made["url"]).status_code == 404


def test_links_are_ours_and_for_an_hour(api, site, monkeypatch):
    cloud, user, vm = site
    made = capture(api, cloud, user, vm)
    altered = made["url"][:-6] + ("A" if made["url"][-6] != "A" else "B") + made["url"][-5:]
    assert api.client.get(altered).status_code == 404
    assert api.client.get(f"{capture_site.PATH}/{made['id']}").status_code == 404
    late = capture_site.time.time() + capture_site.LINK_SECONDS + 1
    monkeypatch.setattr(capture_site.time, "time", lambda: late)
    assert api.client.get(made["url"]).status_code == 404


def test_stopping_ends_it_and_a_host_has_so_many_places(api, site):
    cloud, user, vm = site
    api("updateConfiguration", name="packet.capture.max.per.host", value=1)
    job = api("createPacketCapture", user, virtualmachineid=vm["id"], seconds=300)
    for _ in range(3):
        for message in cloud.take_messages():
            cloud.handle(*message)
    listed = api("listPacketCaptures", user, id=job["id"])["packetcapture"][0]
    assert (listed["state"], listed["jobid"], "url" in listed) == ("Capturing", job["jobid"], False)
    with pytest.raises(Refused, match="capturing for 1 others"):
        api("createPacketCapture", user, virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="is under way"):
        api("deletePacketCapture", user, id=job["id"])
    assert api("stopPacketCapture", user, id=job["id"]) == {"success": True}
    cloud.settle()
    assert done(api, user, job)["packetcapture"]["state"] == "Ready"
    assert api("stopPacketCapture", user, id=job["id"]) == {"success": True}
    api("updateConfiguration", name="packet.capture.max.per.account", value=1)
    with pytest.raises(Refused, match=r"the 1 packet captures of packet\.capture\.max\.per\.account"):
        api("createPacketCapture", user, virtualmachineid=vm["id"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"nicid": "own"}, "Either nicid or virtualmachineid"),
        ({"virtualmachineid": None}, "Either nicid or virtualmachineid"),
        ({"virtualmachineid": None, "nicid": "router"}, "Unable to execute API command|is a router's"),
        ({"seconds": 301}, r"The seconds 301 is more than the 300 of packet\.capture\.max\.seconds"),
        ({"packets": 10001}, r"more than the 10000 of packet\.capture\.max\.packets"),
        ({"maxbytes": 2**20 + 1}, r"more than the 1048576 of packet\.capture\.max\.bytes"),
        ({"port": 80}, "A port is for the protocols tcp and udp alone"),
        ({"port": 80, "protocol": "icmp"}, "A port is for the protocols tcp and udp alone"),
        ({"protocol": "nonsense"}, "The protocol nonsense is none of"),
        ({"ipaddress": "10.1.1"}, "The ipaddress 10.1.1 is not an IPv4 address"),
        ({"snaplength": 63}, "64"),
    ],
)
def test_refused(api, factory, site, given, reason):
    _, user, vm = site
    nics = {"own": vm["nic"][0]["id"], "router": next(nic.id for nic in rows(factory, Nic) if nic.router_id)}
    wanted = {"virtualmachineid": vm["id"]} | given
    wanted = {name: nics.get(value, value) for name, value in wanted.items()}
    for caller in (user, api.admin):
        with pytest.raises(Refused, match=reason):
            api("createPacketCapture", caller, **wanted)
    assert rows(factory, PacketCapture) == []


def test_only_owners_capture_and_see(api, factory, site):
    cloud, user, vm = site
    tenant = Caller.of(factory.engine, factory.user("stranger").username)
    for whose in ({"virtualmachineid": vm["id"]}, {"nicid": vm["nic"][0]["id"]}):
        with pytest.raises(Refused) as refused:
            api("createPacketCapture", tenant, **whose)
        assert refused.value.code == 431
    made = capture(api, cloud, user, vm)
    assert api("listPacketCaptures", tenant, listall=True) == {}
    for command in ("stopPacketCapture", "deletePacketCapture"):
        with pytest.raises(Refused):
            api(command, tenant, id=made["id"])
    with statements(factory.engine) as sent:
        api("listPacketCaptures", user)
    one = len(sent)
    for _ in range(3):
        capture(api, cloud, user, vm)
    with statements(factory.engine) as sent:
        assert api("listPacketCaptures", user)["count"] == 4
    assert len(sent) == one


def test_a_stopped_vm_and_a_failing_host(api, factory, site, monkeypatch):
    cloud, user, vm = site

    def fail(_host, _command):
        raise inquiry.CaptureFailedError("Nothing can be captured: the NIC is not plugged.")

    monkeypatch.setitem(inquiry.handles.__globals__["HANDLERS"], inquiry.BeginCapture, fail)
    job = api("createPacketCapture", user, virtualmachineid=vm["id"], **SHORT)
    cloud.settle()
    answer = api("queryAsyncJobResult", user, jobid=job["jobid"])
    assert (answer["jobstatus"], "is not plugged" in answer["jobresult"]["errortext"]) == (2, True)
    monkeypatch.undo()
    host = cloud.runners[rows(factory, Host, id=rows(factory, Nic, vm_id=vm["id"])[0].host_id)[0].agent_id].host
    job = api("createPacketCapture", user, virtualmachineid=vm["id"], **SHORT)
    while not host.captures:
        for message in cloud.take_messages():
            cloud.handle(*message)
    host.captures.clear()
    cloud.settle()
    answer = api("queryAsyncJobResult", user, jobid=job["jobid"])
    assert "was started anew" in answer["jobresult"]["errortext"]
    assert rows(factory, PacketCapture) == []
    run(api, cloud, user, "stopVirtualMachine", id=vm["id"])
    with pytest.raises(Refused, match="is Stopped; packets are captured while it is Running"):
        api("createPacketCapture", user, virtualmachineid=vm["id"])


def test_it_goes_with_its_machine_and_after_its_time(api, factory, site):
    cloud, user, vm = site
    made = capture(api, cloud, user, vm)
    factory.change(factory.first(PacketCapture, id=made["id"]), expires=utcnow() - dt.timedelta(seconds=1))
    forget_captures()
    assert rows(factory, PacketCapture) == []
    capture(api, cloud, user, vm)
    job = api("createPacketCapture", user, virtualmachineid=vm["id"], **SHORT)
    for _ in range(4):
        for message in cloud.take_messages():
            cloud.handle(
                *message,
            )
    api("destroyVirtualMachine", api.admin, id=vm["id"], expunge=True)
    cloud.settle(times=2)
    assert rows(factory, PacketCapture) == []
    assert api("queryAsyncJobResult", user, jobid=job["jobid"])["jobstatus"] in (1, 2)
    assert not any(runner.host.captures for runner in cloud.runners.values())
