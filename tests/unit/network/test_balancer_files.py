"""The configuration of a load balancer: what haproxy makes of it, and what is refused before."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from network.balancing import Certificate, HealthCheck, Member, Stickiness
from network.elements.balancer_files import (
    MARK,
    NO_STATES,
    bundle,
    bundle_name,
    check_balancers,
    haproxy_conf,
    section_name,
    server_name,
)
from network.elements.router_files import check_spec
from network.elements.router_rules import nft_rules
from network.errors import InvalidViewError
from network.types import Opening, Traffic
from tests.unit.network.balancers import balancer, web_certificate
from tests.unit.network.routers import router
from tests.unit.network.views import nic

ADDRESS = "198.51.100.31"
PLAIN = balancer(ADDRESS)
STICKY = {
    "made": Stickiness("LbCookie", "c", nocache=True, indirect=True, postonly=True, domain=".example.org"),
    "rewritten": Stickiness("LbCookie", "c", mode="rewrite"),
    "learned": Stickiness("AppCookie", "s", learns=True, length=8, expiry=90),
    "in path": Stickiness("AppCookie", "s", place="path"),
    "in query": Stickiness("AppCookie", "s", place="query"),
    "by source": Stickiness("SourceBased", size=1000),
}


def accepted(balancers, home) -> bool:
    """Whether haproxy takes the file without a word."""
    (home / "empty").mkdir(exist_ok=True)
    for one in balancers:
        if one.certificate is not None:
            (home / bundle_name(one.certificate)).write_text(bundle(one.certificate))
    (home / "haproxy.states").write_text(NO_STATES)
    (home / "haproxy.cfg").write_text(haproxy_conf(balancers, home))
    done = subprocess.run(
        ["haproxy", "-c", "-f", home / "haproxy.cfg"], capture_output=True, text=True, check=False, timeout=20
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if "[WARNING]" in line or "[ALERT]" in line]
    assert not said
    return done.returncode == 0


def section(one) -> list[str]:
    """The lines of its section, without those of all."""
    from pathlib import Path

    text = haproxy_conf([one], Path("/home"))
    return [line.strip() for line in text.partition(f"listen {section_name(one.id)}\n")[2].splitlines()]


@pytest.mark.parametrize("sticky", [None, *STICKY.values()], ids=["none", *STICKY])
@pytest.mark.parametrize("algorithm", ["roundrobin", "leastconn", "source"])
def test_haproxy_takes_every_kind(tmp_path, algorithm, sticky):
    secret, _ = web_certificate()
    kinds = (
        PLAIN,
        replace(PLAIN, id="2", port=8001, protocol="tcp-proxy"),
        replace(PLAIN, id="3", port=80, check=HealthCheck("/up?x=1", 5, 2, 3, 4)),
        replace(PLAIN, id="4", port=443, protocol="ssl", certificate=secret),
    )
    assert accepted([replace(one, algorithm=algorithm, stickiness=sticky) for one in kinds], tmp_path)


def test_a_section_says_where_how_and_to_whom():
    server = server_name(Member("member-1", "10.1.1.11"), 8080)
    assert section(balancer(ADDRESS, "1")) == [
        "bind 198.51.100.31:8000",
        "balance roundrobin",
        "timeout check 2s",
        "default-server check inter 2s rise 2 fall 2",
        f"server {server} 10.1.1.11:8080",
    ]
    lines = section(replace(balancer(ADDRESS, "1"), protocol="tcp-proxy", algorithm="source"))
    assert lines[1:3] == ["balance source", "hash-type consistent"]
    assert lines[-1] == f"server {server} 10.1.1.11:8080 send-proxy"


def test_cookies_and_port_80_need_http_and_other_things_pass_bytes():
    for one, is_http in (
        (PLAIN, False),
        (replace(PLAIN, stickiness=STICKY["by source"]), False),
        (replace(PLAIN, port=80, protocol="tcp-proxy"), False),
        (replace(PLAIN, port=80), True),
        (replace(PLAIN, stickiness=STICKY["made"]), True),
        (replace(PLAIN, stickiness=STICKY["learned"]), True),
    ):
        assert ("mode http" in section(one)) is is_http


def test_stickiness():
    def lines(name):
        return [line for line in section(replace(PLAIN, stickiness=STICKY[name])) if "stick" in line or "cook" in line]

    assert lines("made")[0] == "cookie c insert indirect nocache postonly domain .example.org"
    assert lines("made")[1].endswith(f" cookie {server_name(Member('member-1', '10.1.1.11'), 8080)}")
    assert lines("rewritten")[0] == "cookie c rewrite"
    assert lines("learned") == [
        "stick-table type string len 8 size 204800 expire 90s peers routers",
        "stick store-response res.cook(s)",
        "stick on req.cook(s)",
    ]
    assert lines("in path")[2] == "stick match urlp(s,;)"
    assert lines("in query")[2] == "stick match urlp(s)"
    assert lines("by source") == ["stick-table type ip size 1000 expire 10800s peers routers", "stick on src"]
    (named,) = [
        line for line in section(replace(PLAIN, stickiness=Stickiness("LbCookie"))) if line.startswith("cookie")
    ]
    assert named.startswith("cookie lb")


def test_the_mark_tells_one_configuration_from_another(tmp_path):
    marks = [MARK.findall(haproxy_conf(ones, tmp_path)) for ones in ([PLAIN], [replace(PLAIN, port=1)], [PLAIN])]
    assert [len(found) for found in marks] == [1, 1, 1]
    assert marks[0] == marks[2] != marks[1]
    secret, _ = web_certificate()
    assert bundle_name(secret) != bundle_name(replace(secret, chain=""))


def test_without_a_certificate_nothing_listens(tmp_path):
    bare = replace(PLAIN, protocol="ssl")
    assert "listen" not in haproxy_conf([bare], tmp_path)
    spec = replace(router("a", [nic("a", "1", "host-1")]), addresses=(ADDRESS,), balancers=(bare,))
    assert "tcp dport 8000" not in nft_rules(spec)


INJECTED = "x\n    server evil 192.0.2.66:80"


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "first"},
        {"protocol": "http"},
        {"address": "198.51.100.99"},
        {"address": INJECTED},
        {"port": 0},
        {"member_port": 65536},
        {"sources": ("10.0.0.1/8",)},
        {"sources": (INJECTED,)},
        {"members": (Member("m", "10.2.0.1"),)},
        {"members": (Member("m", INJECTED),)},
        {"check": HealthCheck(path=f"/{INJECTED}")},
        {"check": HealthCheck(path="/a b")},
        {"check": HealthCheck(path="/a#b")},
        {"check": HealthCheck(path='/"b')},
        {"check": HealthCheck(interval=0)},
        {"check": HealthCheck(unhealthy=101)},
        {"stickiness": Stickiness("Own")},
        {"stickiness": Stickiness("LbCookie", INJECTED)},
        {"stickiness": Stickiness("LbCookie", "a)b")},
        {"stickiness": Stickiness("LbCookie", "c", mode="preserve")},
        {"stickiness": Stickiness("LbCookie", "c", domain="a b.example")},
        {"stickiness": Stickiness("AppCookie", "c", place="header")},
        {"stickiness": Stickiness("AppCookie", "c", length=1025)},
        {"stickiness": Stickiness("SourceBased", size=2**20 + 1)},
        {"stickiness": Stickiness("SourceBased", expiry=25 * 86400)},
        {"protocol": "ssl", "certificate": Certificate("c", INJECTED, "k")},
    ],
)
def test_what_must_not_reach_the_configuration_is_refused(change):
    own, guests = {IPv4Address(ADDRESS)}, [IPv4Network("10.1.1.0/24")]
    check_balancers([PLAIN], own, guests)
    with pytest.raises(ValueError, match=r".+"):
        check_balancers([replace(PLAIN, **change)], own, guests)
    spec = replace(router("a", [nic("a", "1", "host-1")]), addresses=(ADDRESS,))
    with pytest.raises(InvalidViewError):
        check_spec(replace(spec, balancers=(replace(PLAIN, **change),)))


def test_two_at_one_port_are_refused():
    with pytest.raises(ValueError, match="two balancers at port 8000"):
        check_balancers([PLAIN, replace(PLAIN, id="2")], {IPv4Address(ADDRESS)}, [IPv4Network("10.1.1.0/24")])


def test_names_of_identifiers_hold_nothing_else(tmp_path):
    text = haproxy_conf([replace(PLAIN, id=INJECTED, members=(Member(INJECTED, "10.1.1.11"),))], tmp_path)
    assert "evil" not in text


def test_the_packet_filter_lets_in_what_an_opening_and_the_sources_allow():
    spec = replace(
        router("a", [nic("a", "1", "host-1")]),
        addresses=(ADDRESS,),
        balancers=(replace(PLAIN, sources=("203.0.113.0/24",)),),
        openings=(Opening(ADDRESS, Traffic("tcp", 8000, 8000)),),
    )
    check_spec(spec)
    assert f"ip daddr {ADDRESS} ip saddr {{ 203.0.113.0/24 }} tcp dport 8000 goto opened" in nft_rules(spec)


def test_a_key_is_not_told():
    secret, _ = web_certificate()
    assert "PRIVATE KEY" not in repr(replace(PLAIN, protocol="ssl", certificate=secret))
