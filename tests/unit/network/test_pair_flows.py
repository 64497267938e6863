"""Flows of redundant routers: what goes to the gateway reaches both hosts, and the line carries its own alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from network.errors import InvalidViewError
from network.flows import check_view, desired
from network.types import NicView
from tests.unit.network.views import network, nic, numbers

ENDS = (
    NicView("pair-1", "02:00:00:00:05:01", "10.1.1.101", "host-2", "router"),
    NicView("pair-2", "02:00:00:00:05:02", "10.1.1.102", "host-3", "router"),
)
GATEWAY = nic("a", "router", "host-2", "router")


def _view(host, ends=ENDS):
    mine, other = ("host-3", "host-2") if host == "host-3" else ("host-2", "host-3")
    gateway = replace(GATEWAY, host_id=mine, also_on=(other,))
    one = network("a", 1001, [nic("a", "1", "host-1"), nic("a", "2", "host-2"), nic("a", "3", "host-3"), gateway])
    return replace(one, pair=ends)


def _lines(host, *words, ends=ENDS):
    view = _view(host, ends)
    local = numbers(host, [view])
    known = len(local.nics)
    more = {end.id: type(next(iter(local.nics.values())))(20001 + n, known + 1 + n)
            for n, end in enumerate(ends) if end.host_id == host}  # fmt: skip
    found = desired(host, [view], replace(local, nics={**local.nics, **more})).flows
    return [line for line in found if all(word in line for word in words)]


def test_the_gateway_is_on_both_hosts():
    toward = f"dl_dst={GATEWAY.mac}"
    (away,) = _lines("host-1", "table=40,", toward)
    assert away.endswith("set_field:0x3e9->tun_id,output:1001,output:1002")
    assert "reg0=0," in away
    for host in ("host-2", "host-3"):
        copied, taken = _lines(host, "table=40,", toward)
        assert "priority=110,reg0=0," in copied
        assert "actions=set_field:0x3e9->tun_id,output:1002,set_field" in copied
        assert "reg0" not in taken
        assert "output" not in taken


def test_only_the_other_end_reaches_an_end():
    for own, peer in (ENDS, ENDS[::-1]):
        ends = f"nw_src={peer.address},nw_dst={own.address}"
        for host in ("host-1", "host-2", "host-3"):
            reached = _lines(host, f"dl_dst={own.mac}", "table=40,")
            assert all(ends in line for line in reached), reached
        sent = _lines(own.host_id, "table=5,", "in_port=20001" if own is ENDS[0] else "in_port=2000")
        assert len(sent) == 2
        assert all(f"dl_src={own.mac},dl_dst={peer.mac},nw_src={own.address},nw_dst={peer.address}" in s for s in sent)
        assert [("nw_proto=112" in line, "udp,tp_dst=3780" in line) for line in sorted(sent)] == [
            (True, False), (False, True)
        ]  # fmt: skip
    for host in ("host-1", "host-2", "host-3"):
        assert _lines(host, "arp_tpa=10.1.1.101") == _lines(host, "arp_tpa=10.1.1.102") == []


def test_an_end_without_a_host_is_reached_by_nobody():
    alone = (ENDS[0], replace(ENDS[1], host_id=""))
    assert _lines("host-1", f"dl_dst={ENDS[1].mac}", "table=40,", ends=alone) == []
    assert len(_lines("host-2", "table=5,", "in_port=20001", ends=alone)) == 2


def test_ends_must_be_what_they_are_said_to_be():
    for wrong in (replace(ENDS[0], mac="no"), replace(ENDS[0], address="10.1.1"), replace(ENDS[0], mac=GATEWAY.mac)):
        with pytest.raises(InvalidViewError):
            check_view(_view("host-1", (wrong, ENDS[1])))
