"""The settings of who may come in: where calls come from and how many, passwords, second factors, directories."""

from __future__ import annotations

from typing import Any

from manager.models import Account, Domain
from manager.setting import Setting, Value

_REQUESTS, _LOGIN = ("Access", "Requests"), ("Access", "Login")

_CALLS = (
    Setting(
        "api.allowed.source.cidr.list",
        "0.0.0.0/0,::/0",
        "where calls may come from, as CIDRs separated by commas",
        scopes=(Account,),
        group=_REQUESTS,
        networks=True,
    ),
    Setting("api.key.access", True, "API keys sign calls", "System", scopes=(Domain,), group=_REQUESTS),
    Setting(
        "api.source.cidr.checks.enabled",
        True,
        "calls come only from api.allowed.source.cidr.list",
        group=_REQUESTS,
    ),
    Setting("api.throttling.enabled", False, "accounts may make so many calls in an interval only", group=_REQUESTS),
    Setting(
        "api.throttling.interval", 1, "the seconds of an interval, from its first call", "Advanced", 1, 86400,
        group=_REQUESTS,
    ),
    Setting(
        "api.throttling.max",
        25,
        "the calls that an account may make in an interval; root administrators have no limit",
        "Advanced",
        1,
        scopes=(Account,),
        group=_REQUESTS,
    ),
    Setting(
        "proxy.cidr",
        "",
        "the proxies before the API, as CIDRs separated by commas: they are believed who called them",
        group=_REQUESTS,
        networks=True,
    ),
    Setting(
        "proxy.header.names",
        "X-Forwarded-For",
        "the headers in which those proxies tell it, the first that is there counts",
        pattern=r"[A-Za-z][A-Za-z0-9-]{0,63}(, ?[A-Za-z][A-Za-z0-9-]{0,63}){0,7}",
        group=_REQUESTS,
    ),
    Setting("proxy.header.verify", False, "read the caller's address from what proxies tell", group=_REQUESTS),
)  # fmt: skip


def _login(name: str, default: Value, description: str, least: float = 0, most: float = 255, **more: Any) -> Setting:
    """One for passwords and second factors, which a domain may have for itself."""
    return Setting(
        name, default, description, "Advanced", least, most, **{"scopes": (Domain,), "group": _LOGIN, **more}
    )


_POLICY = "password.policy"
_ATTEMPTS = "wrong passwords or codes of a user until none is looked at any more for a while; 0 for any number"
_LOGINS = (
    _login("enable.user.2fa", False, "users may set up a second factor for logins"),
    _login("incorrect.login.attempts.allowed", 5, _ATTEMPTS, 0, 1000, scopes=()),
    _login("incorrect.login.lock.minutes", 15, "minutes from the last of them until that ends", 1, 1440, scopes=()),
    _login("mandate.user.2fa", False, "users must set up a second factor at login, where enable.user.2fa is true"),
    _login(f"{_POLICY}.allowPasswordToContainUsername", True, "a password may hold the user's name"),
    _login(f"{_POLICY}.minimum.digits", 0, "how many digits 0 to 9 a password has at least"),
    _login(f"{_POLICY}.minimum.length", 4, "how many characters a password has at least", 4),
    _login(f"{_POLICY}.minimum.lowercase.letters", 0, "how many letters a to z a password has at least"),
    _login(f"{_POLICY}.minimum.special.characters", 0, "how many neither letters nor digits a password has at least"),
    _login(f"{_POLICY}.minimum.uppercase.letters", 0, "how many letters A to Z a password has at least"),
    _login(f"{_POLICY}.regex", ".+", "an expression that a password as a whole matches", is_expression=True),
    _login("session.timeout", 30, "minutes without a call after which a login ends", 5, 10080, scopes=()),
    _login("user.2fa.default.provider", "totp", "the kind of second factor where none is named", options=("totp",)),
    _login("user.2fa.issuer", "CloudStack", "what authenticator applications show", pattern=r"[^\s:][^:]{0,63}"),
)


def _ldap(name: str, default: Value, description: str, **more: Any) -> Setting:
    return Setting(f"ldap.{name}", default, description, scopes=(Domain,), group=_LOGIN, **more)


_NAME = {"pattern": "[A-Za-z][A-Za-z0-9-]{0,62}"}
_LDAP = (
    _ldap("basedn", "", "the name (DN) below which people are"),
    _ldap("bind.password", "", "the password of ldap.bind.principal", category="Secure", is_secret=True),
    _ldap("bind.principal", "", "the name (DN) that searches; anybody may, when empty", category="Secure"),
    _ldap("email.attribute", "mail", "the attribute of a person's e-mail address", **_NAME),
    _ldap("firstname.attribute", "givenname", "the attribute of a person's first name", **_NAME),
    _ldap("group.object", "groupOfUniqueNames", "the object class of groups", **_NAME),
    _ldap("group.user.uniquemember", "uniquemember", "the attribute of a group that names its members", **_NAME),
    _ldap("lastname.attribute", "sn", "the attribute of a person's last name", **_NAME),
    _ldap("read.timeout", 1000, "milliseconds that a server has for an answer", least=100, most=10_000),
    _ldap("request.page.size", 1000, "how many people are asked for at a time", least=1, most=10_000),
    _ldap("search.group.principle", "", "the name (DN) of the group to which all who enter belong"),
    _ldap("tls", "starttls", "how servers are talked to", category="Secure", options=("starttls", "ldaps", "none")),
    _ldap("truststore", "", "the PEM file of who vouches for servers; the system's when empty", category="Secure"),
    _ldap("user.object", "inetOrgPerson", "the object class of people", **_NAME),
    _ldap("username.attribute", "uid", "the attribute of a person's user name", **_NAME),
)

ACCESS = (*_CALLS, *_LOGINS, *_LDAP)
