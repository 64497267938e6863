"""What routers refuse of VPNs, the packet rules that they make of them, and what strongSwan is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from network.elements.ipsec_messages import user_of, wanted_of
from network.elements.router_files import check_spec
from network.elements.router_rules import nft_rules
from network.errors import InvalidViewError
from network.types import Opening, Traffic
from network.vpn import RemoteAccess, Tunnel, UnknownPolicy, Vpn, VpnUser, proposals
from tests.unit.network.lab import sh
from tests.unit.network.routers import router
from tests.unit.network.views import nic

END = "198.51.100.10"
ACCESS = RemoteAccess("access", END, "10.9.0.2", "10.9.0.9", ("10.1.1.0/24",), "AAAA", "AAAA", (VpnUser("ann", "x"),))
TUNNEL = Tunnel(
    "s2s", END, "203.0.113.9", ("10.1.1.0/24",), ("10.2.0.0/16", "10.2.2.0/24"), "agreed", "aes128-sha1;modp1536",
    "aes128-sha1",
)  # fmt: skip


def spec_with(vpn: Vpn, **options):
    return router("a", [nic("a", "1", "host-1")], vpn=vpn, **options)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("aes128-sha1;modp1536", ("aes128-sha1-modp1536",)),
        ("3des-md5;modp1024,aes256-sha512;modp8192", ("3des-md5-modp1024", "aes256-sha512-modp8192")),
    ],
)
def test_policies_become_proposals(text, wanted):
    assert proposals(text, with_group=True) == proposals(text) == wanted


def test_a_group_may_be_absent_where_it_is_not_asked_for():
    assert proposals("aes128-sha1") == ("aes128-sha1",)
    with pytest.raises(UnknownPolicy, match="the group ''"):
        proposals("aes128-sha1", with_group=True)


@pytest.mark.parametrize(
    "text", ["", "aes128", "aes128-sha1-md5", "aes128_sha1", "AES128-sha1", "aes128-sha1; modp1024"]
)
def test_what_is_no_policy_is_refused(text):
    with pytest.raises(UnknownPolicy, match="there are"):
        proposals(text)


@pytest.mark.parametrize(
    "vpn",
    [
        Vpn(replace(ACCESS, address="198.51.100.99")),
        Vpn(replace(ACCESS, first="10.9.0.9", last="10.9.0.2")),
        Vpn(replace(ACCESS, first="10.1.1.200")),
        Vpn(replace(ACCESS, first="10.1.0.1")),
        Vpn(replace(ACCESS, private_key="not base64")),
        Vpn(replace(ACCESS, users=(VpnUser("ann\n", "x"),))),
        Vpn(None, (replace(TUNNEL, address="198.51.100.99"),)),
        Vpn(None, (replace(TUNNEL, peer="vpn.example.org"),)),
        Vpn(None, (replace(TUNNEL, far=()),)),
        Vpn(None, (replace(TUNNEL, far=("10.1.0.0/16",)),)),
        Vpn(None, (replace(TUNNEL, far=("203.0.113.0/24",)),)),
        Vpn(None, (replace(TUNNEL, ike_policy="aes128-sha1"),)),
        Vpn(None, (replace(TUNNEL, esp_policy="none"),)),
        Vpn(None, (replace(TUNNEL, secret="a\nb"),)),
    ],
    ids=range(14),
)
def test_a_vpn_that_cannot_be_is_refused_whole(vpn):
    with pytest.raises(InvalidViewError, match=r"[Rr]outer ptn"):
        check_spec(spec_with(vpn))


def test_a_vpn_that_can_be_is_not_refused():
    check_spec(spec_with(Vpn(ACCESS, (TUNNEL,))))


@pytest.mark.parametrize("kernel_esp", [False, True])
def test_the_kernel_takes_the_rules(tmp_path, kernel_esp):
    closed = replace(ACCESS, open_to_all=False)
    let_in = Opening(END, Traffic("udp", 500, 600, sources=("192.0.2.0/24", "192.0.2.128/25")))
    text = nft_rules(spec_with(Vpn(closed, (TUNNEL,)), openings=(let_in,)), kernel_esp=kernel_esp)
    path = tmp_path / "rules"
    path.write_text(text)
    sh("nft", "-c", "-f", str(path))
    assert "ip saddr { 192.0.2.0/24 } udp dport 500 accept" in text
    assert ("meta l4proto esp accept" in text) is kernel_esp


def test_without_a_vpn_nothing_of_it_is_in_the_rules():
    text = nft_rules(router("a", []), kernel_esp=True)
    assert not [word for word in ("ipsec", "4500", "esp", "maxseg") if word in text]


def test_no_order_of_what_is_wanted_changes_the_rules():
    other = replace(TUNNEL, id="other", far=("10.3.0.0/16",))
    texts = {nft_rules(spec_with(Vpn(None, pair))) for pair in ((TUNNEL, other), (other, TUNNEL))}
    assert len(texts) == 1


def test_any_change_is_another_connection_and_a_new_user_is_none():
    before = wanted_of(Vpn(ACCESS, (TUNNEL,)))
    changes = [
        {"secret": "else"}, {"peer": "203.0.113.10"}, {"far": ("10.4.0.0/16",)}, {"ike_policy": "aes256-sha1;modp1536"},
        {"esp_lifetime": 300}, {"dpd": True}, {"force_encapsulation": True}, {"passive": True}, {"round": 1},
        {"version": "ikev2"}, {"split": True},
    ]  # fmt: skip
    for change in changes:
        after = wanted_of(Vpn(ACCESS, (replace(TUNNEL, **change),)))
        assert before.children["tunnel-s2s"].keys() != after.children["tunnel-s2s"].keys(), change
        assert before.children["remote-access"].keys() == after.children["remote-access"].keys()
    more = wanted_of(Vpn(replace(ACCESS, users=(*ACCESS.users, VpnUser("bob", "y"))), (TUNNEL,)))
    assert more.children == before.children
    assert {user_of(key) for key in more.secrets} == {"", "ann", "bob"}


def test_each_pair_has_a_child_where_it_must():
    for version, split, count in (("ike", False, 1), ("ikev2", True, 2), ("ikev1", False, 2)):
        wanted = wanted_of(Vpn(None, (replace(TUNNEL, version=version, split=split),)))
        assert len(wanted.children["tunnel-s2s"]) == count


def test_a_passive_router_begins_nothing():
    wanted = wanted_of(Vpn(None, (replace(TUNNEL, passive=True),)))
    assert wanted.begun == set()
    (child,) = wanted.children["tunnel-s2s"].values()
    assert (child["start_action"], child["close_action"], child["dpd_action"]) == ("none", "none", "clear")


def test_names_with_a_dash_are_known_again():
    assert user_of(next(iter(wanted_of(Vpn(replace(ACCESS, users=(VpnUser("a-b", "x"),)))).secrets))) == "a-b"
