"""Stickiness and health check policies of load balancer rules through the API, with the in-process cloud."""

from __future__ import annotations

import pytest

from network.balancing import HealthCheck, Stickiness
from tests.client import Refused
from tests.unit.api.test_load_balancers import balance, balancer_of, stick
from tests.unit.api.test_load_balancers import rule as a_rule
from tests.unit.api.test_load_balancers import site as a_site
from tests.unit.api.test_public_addresses import done, running  # noqa: F401 - running is a fixture

site, rule = a_site, a_rule


def test_a_stickiness_policy_from_its_making_to_its_end(api, site, rule):
    cloud, user, _, _ = site
    params = [
        ("cookie-name", "c"),
        ("indirect", ""),
        ("nocache", "true"),
        ("postonly", "false"),
        ("domain", ".a.example"),
    ]
    answer = stick(api, user, rule, "lbcookie", params, description="d")
    assert api.wrapper == "createLBStickinessPolicy"
    shown = done(api, cloud, answer, user)["stickinesspolicies"]
    assert (shown["lbruleid"], shown["zoneid"]) == (rule["id"], rule["zoneid"])
    (policy,) = shown["stickinesspolicy"]
    assert policy == {
        "id": answer["id"], "name": "sticky", "methodname": "LbCookie", "description": "d", "state": "Active",
        "fordisplay": True,
        "params": {"cookie-name": "c", "indirect": "true", "nocache": "true", "domain": ".a.example"},
    }  # fmt: skip
    wanted = Stickiness("LbCookie", "c", nocache=True, indirect=True, domain=".a.example")
    assert balancer_of(cloud).stickiness == wanted
    for given in ({"id": policy["id"]}, {"lbruleid": rule["id"]}):
        (found,) = api("listLBStickinessPolicies", user, **given)["stickinesspolicies"]
        assert found["stickinesspolicy"] == [policy]
    with pytest.raises(Refused, match=r"431 The load balancer rule web has a stickiness policy already"):
        stick(api, user, rule, "SourceBased")
    with pytest.raises(Refused, match=r"431 The method LbCookie needs HTTP; a rule of the protocol tcp-proxy"):
        api("updateLoadBalancerRule", user, id=rule["id"], protocol="tcp-proxy")
    done(api, cloud, api("updateLBStickinessPolicy", id=policy["id"], fordisplay=False))
    (hidden,) = api("listLBStickinessPolicies", user, lbruleid=rule["id"])["stickinesspolicies"]
    assert hidden["stickinesspolicy"] == []
    done(api, cloud, api("deleteLBStickinessPolicy", user, id=policy["id"]), user)
    assert balancer_of(cloud).stickiness is None
    done(api, cloud, stick(api, user, rule, "SourceBased"), user)
    with pytest.raises(Refused, match=r"431 Give lbruleid, or the id of a policy"):
        api("listLBStickinessPolicies", user)


@pytest.mark.parametrize(
    ("method", "params", "wanted"),
    [
        ("LbCookie", [("mode", "rewrite")], Stickiness("LbCookie", mode="rewrite")),
        (
            "AppCookie",
            [("cookie-name", "s"), ("length", "8"), ("holdtime", "30m"), ("request-learn", "true")],
            Stickiness("AppCookie", "s", length=8, expiry=1800, learns=True),
        ),
        ("AppCookie", [("mode", "path-parameters")], Stickiness("AppCookie", place="path")),
        ("SourceBased", [("tablesize", "300k"), ("expire", "4d")],
         Stickiness("SourceBased", size=300 * 1024, expiry=4 * 86400)),
    ],
)  # fmt: skip
def test_what_parameters_of_stickiness_mean(api, site, rule, method, params, wanted):
    cloud, user, _, _ = site
    done(api, cloud, stick(api, user, rule, method, params), user)
    assert balancer_of(cloud).stickiness == wanted


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        ("Own", [], "Own is none of LbCookie, AppCookie, SourceBased"),
        ("LbCookie", [("holdtime", "3h")], "The method LbCookie has no parameter holdtime; it has cookie-name, mode"),
        ("AppCookie", [("prefix", "")], "The method AppCookie has no parameter prefix"),
        ("LbCookie", [("cookie-name", "a b")], "The cookie-name a b is not 1 to 64 letters"),
        ("LbCookie", [("cookie-name", "a"), ("cookie-name", "b")], "The parameter cookie-name is given twice"),
        ("LbCookie", [("mode", "query-string")], "The mode query-string is none of insert, rewrite, prefix"),
        ("LbCookie", [("domain", "a b.example")], "The domain a b.example is not that of a cookie"),
        ("LbCookie", [("indirect", "yes")], "The parameter indirect is a flag"),
        ("AppCookie", [("mode", "insert")], "The mode insert is none of path-parameters, query-string"),
        ("AppCookie", [("length", "1025")], "The length 1025 is not a number of characters from 1 to 1024"),
        ("AppCookie", [("holdtime", "20h30m")], "The holdtime 20h30m is not a time such as 20s"),
        ("SourceBased", [("expire", "25d")], "The expire 25d is not a time .* at most 24d"),
        ("SourceBased", [("tablesize", "400g")], "The tablesize 400g is not a number of entries such as 200k"),
        ("SourceBased", [("tablesize", "2m")], "The tablesize 2m is not .* of at most 1m"),
    ],
)
def test_stickiness_that_cannot_be(api, site, rule, method, params, reason):
    _, user, _, _ = site
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        stick(api, user, rule, method, params)


def test_cookies_do_not_go_with_the_proxy_protocol(api, site):
    cloud, user, address, _ = site
    shown = done(api, cloud, balance(api, user, address, protocol="tcp-proxy"), user)["loadbalancer"]
    with pytest.raises(Refused, match=r"431 The method AppCookie needs HTTP"):
        stick(api, user, shown, "AppCookie")
    done(api, cloud, stick(api, user, shown, "SourceBased"), user)


def test_a_health_check_policy_from_its_making_to_its_end(api, site, rule):
    cloud, user, _, _ = site
    assert balancer_of(cloud).check == HealthCheck()
    given = {"pingpath": "/up?x=1", "responsetimeout": 3, "intervaltime": 7, "healthythreshold": 4,
             "unhealthythreshold": 5}  # fmt: skip
    answer = api("createLBHealthCheckPolicy", user, lbruleid=rule["id"], description="d", **given)
    shown = done(api, cloud, answer, user)["healthcheckpolicies"]
    (policy,) = shown["healthcheckpolicy"]
    assert policy == {
        "id": answer["id"], "pingpath": "/up?x=1", "description": "d", "state": "Active", "responsetime": 3,
        "healthcheckinterval": 7, "healthcheckthresshold": 4, "unhealthcheckthresshold": 5, "fordisplay": True,
    }  # fmt: skip
    assert balancer_of(cloud).check == HealthCheck("/up?x=1", 7, 3, 4, 5)
    (found,) = api("listLBHealthCheckPolicies", user, lbruleid=rule["id"])["healthcheckpolicies"]
    assert found["healthcheckpolicy"] == [policy]
    with pytest.raises(Refused, match=r"431 The load balancer rule web has a health check policy already"):
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"])
    done(api, cloud, api("updateLBHealthCheckPolicy", id=policy["id"], fordisplay=True))
    done(api, cloud, api("deleteLBHealthCheckPolicy", user, id=policy["id"]), user)
    assert balancer_of(cloud).check == HealthCheck()
    done(api, cloud, api("createLBHealthCheckPolicy", user, lbruleid=rule["id"]), user)
    assert balancer_of(cloud).check == HealthCheck("/", 5, 2, 2, 10)
    with pytest.raises(Refused, match=r"431 .*is not a path such as /health"):
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"], pingpath="/a b")
    with pytest.raises(Refused, match=r"431 The responsetimeout of 9 s is longer than the intervaltime, 5 s"):
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"], responsetimeout=9)


def test_policies_belong_to_their_rule(api, site, rule):
    cloud, user, address, _ = site
    second = done(api, cloud, balance(api, user, address, name="second", publicport=81), user)["loadbalancer"]
    policy = stick(api, user, rule, "SourceBased")["id"]
    cloud.settle()
    with pytest.raises(Refused, match=rf"431 The policy {policy} is not one of the load balancer rule second"):
        api("listLBStickinessPolicies", user, lbruleid=second["id"], id=policy)
    done(api, cloud, api("deleteLoadBalancerRule", user, id=rule["id"]), user)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteLBStickinessPolicy", user, id=policy)
