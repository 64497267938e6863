"""Where calls may come from, and that nobody can pretend to be somewhere else."""

from __future__ import annotations

import pytest

from manager.cidrs import address_of, is_in
from tests.client import Caller, Refused, signed

UNVERIFIED = r"401 unable to verify user credentials"
INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.9"
PROXY, FRONT = "172.16.0.1", "172.16.0.2"


@pytest.fixture
def at(api):
    """Sets where the following calls come from: the peer, and what it says in X-Forwarded-For."""

    def set_place(peer: str, told: str | None = None, header: str = "HTTP_X_FORWARDED_FOR"):
        for name in [name for name in api.client.environ_base if name.startswith("HTTP_")]:
            if name != "HTTP_USER_AGENT":
                del api.client.environ_base[name]
        api.client.environ_base["REMOTE_ADDR"] = peer
        if told is not None:
            api.client.environ_base[header] = told

    return set_place


@pytest.fixture
def fenced(api, tenant):
    """The tenant, whose calls come from 10.0.0.0/8 only."""
    api(
        "updateConfiguration", name="api.allowed.source.cidr.list", value="10.0.0.0/8, 2001:db8::/32",
        accountid=tenant.account.id,
    )  # fmt: skip
    return tenant


@pytest.fixture
def proxied(api):
    for name, value in (("proxy.cidr", "172.16.0.0/30"), ("proxy.header.verify", "true")):
        api("updateConfiguration", name=name, value=value)


def refused(api, caller) -> bool:
    answer = api.client.get("/client/api", query_string=signed(caller, {"command": "listZones", "response": "json"}))
    if answer.status_code == 200:
        return False
    text = "unable to verify user credentials and/or request signature"
    assert answer.json == {"listzonesresponse": {"uuidList": [], "errorcode": 401, "errortext": text}}
    return True


@pytest.mark.parametrize(
    ("peer", "out"),
    [(INSIDE, False), (OUTSIDE, True), ("2001:db8::1", False), ("::ffff:10.9.9.9", False), ("", True), ("x", True)],
)
def test_an_account_calls_from_its_networks_only(api, at, fenced, peer, out):
    at(peer)
    assert refused(api, fenced) is out
    assert not refused(api, api.admin)


def test_a_key_signs_from_its_networks_only(api, at, tenant):
    keys = api("registerUserKeys", tenant, id=tenant.user.id, name="k", allowedcidrs=f"10.1.0.0/16,{OUTSIDE}")
    keys = keys["userkeys"]
    caller = Caller(keys["apikey"], keys["secretkey"], tenant.user, tenant.account)
    assert keys["allowedcidrs"] == f"10.1.0.0/16,{OUTSIDE}"
    for peer, out in ((INSIDE, False), (OUTSIDE, False), ("10.2.0.1", True), ("", True)):
        at(peer)
        assert refused(api, caller) is out
        assert not refused(api, tenant)


def test_both_lists_must_allow(api, at, fenced):
    at(INSIDE)
    keys = api("registerUserKeys", fenced, id=fenced.user.id, name="k", allowedcidrs=OUTSIDE)["userkeys"]
    at(OUTSIDE)
    assert refused(api, Caller(keys["apikey"], keys["secretkey"], fenced.user, fenced.account))


def test_nobody_logs_in_or_goes_on_from_elsewhere(api, at, fenced):
    person = {"command": "login", "response": "json", "username": "tenant", "password": "password"}
    at(OUTSIDE)
    with pytest.raises(Refused, match=r"531 Failed to authenticate user tenant"):
        api.send(person, method="POST")
    at(INSIDE)
    key = api.send(person, method="POST")["sessionkey"]
    call = {"command": "listZones", "response": "json", "sessionkey": key}
    assert api.send(call) == {}
    at(OUTSIDE)
    with pytest.raises(Refused, match=rf"{UNVERIFIED}$"):
        api.send(call)


def test_the_check_can_be_turned_off_and_the_list_is_checked(api, at, fenced):
    with pytest.raises(Refused, match=r"431 .*10\.0\.0\.0/99 is not a CIDR"):
        api("updateConfiguration", name="api.allowed.source.cidr.list", value="10.0.0.0/99")
    api("updateConfiguration", name="api.source.cidr.checks.enabled", value=False)
    at(OUTSIDE)
    assert not refused(api, fenced)


def test_a_forged_header_counts_for_nothing_without_proxies(api, at, fenced):
    at(OUTSIDE, INSIDE)
    assert refused(api, fenced)


@pytest.mark.parametrize(
    ("place", "out"),
    [
        ((OUTSIDE, INSIDE), True),  # no proxy sent it
        ((PROXY, INSIDE), False),
        ((PROXY, OUTSIDE), True),
        ((PROXY, f"{INSIDE}, {OUTSIDE}"), True),  # the caller wrote the first, the proxy the second
        ((PROXY, f"{OUTSIDE}, {INSIDE}"), False),
        ((PROXY, f"{INSIDE}, {FRONT}"), False),  # two proxies, one behind the other
        ((PROXY, f"{INSIDE}, {OUTSIDE}, {FRONT}"), True),
        ((PROXY, f"{INSIDE}, nonsense"), True),
        ((PROXY, f"{INSIDE},"), True),
        ((PROXY, None), True),
    ],
)
def test_only_trusted_proxies_are_believed(api, at, fenced, proxied, place, out):
    at(*place)
    assert refused(api, fenced) is out


def test_events_tell_the_true_address(api, at, tenant, proxied):
    at(PROXY, f"{INSIDE}, {OUTSIDE}")
    api("createSSHKeyPair", tenant, name="k")
    (event,) = api("listEvents", type="REGISTER.SSH.KEYPAIR", listall=True)["event"]
    assert event["sourceaddress"] == OUTSIDE


def test_another_header_is_read_only_when_it_is_named(api, at, fenced, proxied):
    at(PROXY, INSIDE, "HTTP_X_REAL_IP")
    assert refused(api, fenced)
    api("updateConfiguration", name="proxy.header.names", value="X-Real-IP")
    assert not refused(api, fenced)
    at(PROXY, INSIDE)
    assert refused(api, fenced)


def test_addresses_and_networks():
    assert is_in(address_of("::ffff:10.0.0.1"), "10.0.0.0/8")
    assert not is_in(address_of("10.0.0.1"), "::/0")
    assert not is_in(address_of("10.0.0.1"), "")
    assert address_of("10.0.0.1:80") is None
