"""What passwords must look like: each rule at its limit, wherever a password is given, by domain."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.client import Refused

PREFIX = "password.policy."
PERSON = {"firstname": "Jo", "lastname": "Doe", "email": "jo@example.org"}


def rule(api, name, value, **place):
    api("updateConfiguration", name=PREFIX + name, value=value, **place)


class Case(NamedTuple):
    """A rule, a password that breaks it and one that does not, and what tells why."""

    name: str
    value: object
    bad: str
    good: str
    reason: str


@pytest.mark.parametrize(
    "case",
    [
        Case("minimum.length", 8, "1234567", "12345678", "at least 8 characters in the domain ROOT, not 7"),
        Case("minimum.uppercase.letters", 2, "aaaaÄA", "aaaaAB", r"at least 2 uppercase letters \(A-Z\)"),
        Case("minimum.lowercase.letters", 2, "AAAAäa", "AAAAab", r"at least 2 lowercase letters \(a-z\)"),
        Case("minimum.digits", 2, "aaaa1٢", "aaaa12", r"at least 2 digits \(0-9\)"),
        Case("minimum.special.characters", 2, "aaaa1!", "aaaa #", "at least 2 characters that are neither"),
        Case("regex", "[a-z]+-[a-z]+", "ab-cd1", "ab-cd", r"matches the expression \[a-z\]\+-\[a-z\]\+"),
        Case("allowPasswordToContainUsername", False, "a-ADA-b", "a-da-b", "does not hold the user's name"),
    ],
)
def test_each_rule_at_its_limit_in_every_command(api, tenant, case):
    rule(api, case.name, case.value)
    new = {"username": "ada", **PERSON}
    for command, given in (("createAccount", {"accounttype": 0, **new}), ("createUser", {"account": "tenant", **new})):
        with pytest.raises(Refused, match=f"431 .*{case.reason}") as refused:
            api(command, password=case.bad, **given)
        assert case.bad not in refused.value.text
    user = api("createUser", password=case.good, account="tenant", **new)["user"]["id"]
    with pytest.raises(Refused, match=f"431 .*{case.reason}"):
        api("updateUser", id=user, password=case.bad)
    api("updateUser", id=user, password=case.good)


def test_a_users_own_change_and_its_new_name_follow_the_rules(api, tenant):
    rule(api, "allowPasswordToContainUsername", False)
    given = {"id": tenant.user.id, "currentpassword": "password"}
    with pytest.raises(Refused, match=r"431 .*does not hold the user's name"):
        api("updateUser", tenant, password="my-tenant", **given)
    with pytest.raises(Refused, match=r"431 .*does not hold the user's name"):
        api("updateUser", tenant, password="lodger-1", username="lodger", **given)
    api("updateUser", tenant, password="tenant-1", username="lodger", **given)


def test_a_domain_has_its_own_rules_and_those_below_follow(api, factory):
    west = factory.domain("west")
    deep = factory.domain("deep", west)
    rule(api, "minimum.length", 12, domainid=west.id)
    for number, (domain, refused) in enumerate([(west, True), (deep, True), (factory.domain("east"), False)]):
        new = {"username": f"u{number}", "password": "12345678", "accounttype": 0, "domainid": domain.id, **PERSON}
        if refused:
            with pytest.raises(Refused, match=r"431 .*at least 12 characters"):
                api("createAccount", **new)
        else:
            api("createAccount", **new)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("regex", "[a-", r"is a regular expression, which \[a- is not"),
        ("minimum.length", 3, "lies within 4 and 255"),
        ("minimum.digits", 256, "lies within 0 and 255"),
    ],
)
def test_rules_that_cannot_be_are_refused(api, name, value, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        rule(api, name, value)
