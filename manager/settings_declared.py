"""The settings that there are: each declared once, with type, default, range, scopes and group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from manager.models import Account, Cluster, Domain, StoragePool, Zone
from manager.models.resources import RESOURCES

NO_LIMIT = -1
GLOBAL = "Global"

Value = int | float | bool | str

SCOPES: dict[type[Any], str] = {
    Zone: "Zone",
    Cluster: "Cluster",
    StoragePool: "StoragePool",
    Domain: "Domain",
    Account: "Account",
}
"""CloudStack's words for what a setting can be set for."""

GROUPS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "Access": (1, "who may do what", ("Accounts", "Domains", "Projects", "Requests", "Login")),
    "Compute": (2, "virtual machines, and the hosts that they run on", ("Hosts", "Virtual Machines")),
    "Storage": (3, "volumes and the pools that hold them", ("Primary Storage",)),
    "Network": (4, "networks of tenants", ("Guest Networks",)),
    "Management Server": (5, "the management servers themselves", ("API", "Jobs", "Alerts", "Events", "Webhooks")),
    "Usage Server": (6, "what was used, for how long", ("Usage",)),
    "Miscellaneous": (7, "all else", ("Others",)),
}
"""Groups of settings: where each stands among them, what it holds, its subgroups."""


@dataclass(frozen=True)
class Setting:
    """A declared setting. `kind` is int, float, bool or str; numbers lie within `least` and `most`.

    `options` are the only values of a str, where there are any. `scopes` are what it can be set for besides globally.
    The value of one that `is_secret` is sealed in the database and shown to nobody.
    """

    name: str
    default: Value
    description: str
    category: str = "Advanced"
    least: float = 0
    most: float = 2**31 - 1
    pattern: str = ""
    scopes: tuple[type[Any], ...] = ()
    group: tuple[str, str] = ("Miscellaneous", "Others")
    options: tuple[str, ...] = ()
    is_secret: bool = False

    @property
    def kind(self) -> str:
        return type(self.default).__name__

    @property
    def shown_type(self) -> str:
        """CloudStack's word."""
        return {"int": "Number", "float": "Decimal", "bool": "Boolean", "str": "String"}[self.kind]

    @property
    def shown_scope(self) -> str:
        return ",".join(SCOPES[scope] for scope in self.scopes) or GLOBAL

    def read(self, text: str) -> Value:
        """The typed value of `text`.

        :raises ValueError: with a sentence, when it is not one
        """
        if self.kind == "bool":
            if text.lower() not in ("true", "false"):
                raise ValueError(f"The setting {self.name} is true or false, not {text}.")
            return text.lower() == "true"
        if self.kind == "str":
            if self.options and text not in self.options:
                raise ValueError(f"The setting {self.name} is one of {', '.join(self.options)}, not {text}.")
            if self.pattern and not re.fullmatch(self.pattern, text):
                raise ValueError(f"The setting {self.name} cannot be {text}: it must look like {self.default}.")
            return text
        return self._number(text)

    def _number(self, text: str) -> Value:
        wanted = "a whole number" if self.kind == "int" else "a number"
        form = r"[+-]?\d{1,18}" if self.kind == "int" else r"[+-]?\d{1,15}(\.\d{1,9})?"
        if not re.fullmatch(form, text):
            raise ValueError(f"The setting {self.name} is {wanted}, not {text}.")
        number: int | float = int(text) if self.kind == "int" else float(text)
        if not self.least <= number <= self.most:
            raise ValueError(f"The setting {self.name} lies within {self.least} and {self.most}; {text} does not.")
        return number

    def write(self, value: Value) -> str:
        return str(value).lower() if self.kind == "bool" else str(value)


def _limits() -> Iterator[Setting]:
    for resource in RESOURCES:
        for holder, name, default in resource.scopes():
            article = "an" if holder == "account" else "a"
            yield Setting(
                name,
                default,
                f"how many {resource.label} {article} {holder} may have; -1 for any number",
                f"{holder.capitalize()} Defaults",
                NO_LIMIT,
                group=("Access", f"{holder.capitalize()}s"),
            )


def _threshold(name: str, what: str) -> Setting:
    described = f"the part of {what} from which on an alert is raised"
    return Setting(f"{name}.capacity.notificationthreshold", 0.75, described, "Alert", 0, 1, group=_ALERTS)


_ALERTS, _EVENTS, _USAGE = ("Management Server", "Alerts"), ("Management Server", "Events"), ("Usage Server", "Usage")
_WEBHOOKS = ("Management Server", "Webhooks")
_VMS, _HOSTS = ("Compute", "Virtual Machines"), ("Compute", "Hosts")
_REQUESTS, _PROJECTS = ("Access", "Requests"), ("Access", "Projects")
_LOGIN = ("Access", "Login")
_JOBS = ("Management Server", "Jobs")

_CIDRS = r"([0-9A-Fa-f.:]+/\d{1,3}(, ?[0-9A-Fa-f.:]+/\d{1,3})*)?"

_NOTICES = (
    Setting(
        "alert.drift.minutes",
        10,
        "minutes that drift or an orphan lasts until an alert is raised",
        "Alert",
        group=_ALERTS,
    ),
    Setting("alert.purge.delay", 0, "days that alerts are kept; 0 for ever", "Alert", 0, 36500, group=_ALERTS),
    _threshold("cluster.cpu.allocated", "a cluster's CPU that is claimed"),
    _threshold("cluster.memory.allocated", "a cluster's memory that is claimed"),
    _threshold("cluster.storage", "a cluster's primary storage that is used"),
    _threshold("cluster.storage.allocated", "a cluster's primary storage that is claimed"),
    _threshold("zone.secstorage", "a zone's secondary storage that is used"),
    _threshold("zone.virtualnetwork.publicip", "a zone's public addresses that are taken"),
    Setting("event.purge.delay", 15, "days that events are kept; 0 for ever", "Advanced", 0, 36500, group=_EVENTS),
    Setting(
        "usage.records.retention.days",
        0,
        "days that usage records are kept; 0 for ever",
        "Usage",
        0,
        36500,
        group=_USAGE,
    ),
    Setting(
        "usage.stats.job.aggregation.range",
        1440,
        "the minutes of use in one usage record",
        "Usage",
        1,
        1440,
        group=_USAGE,
    ),
    Setting(
        "webhook.allowed.networks",
        "",
        "private networks that webhooks may reach, as CIDRs separated by commas",
        "Webhook",
        pattern=_CIDRS,
        group=_WEBHOOKS,
    ),
    Setting(
        "webhook.deliveries.limit",
        10,
        "how many ended deliveries of a webhook are kept",
        "Webhook",
        1,
        1000,
        group=_WEBHOOKS,
    ),
    Setting("webhook.delivery.timeout", 10, "seconds until a delivery has failed", "Webhook", 1, 60, group=_WEBHOOKS),
    Setting("webhook.delivery.tries", 3, "how often a delivery is tried", "Webhook", 1, 20, group=_WEBHOOKS),
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

_ALL = (
    *_NOTICES,
    *_LDAP,
    Setting("allow.user.create.projects", True, "users may make projects; else administrators only", group=_PROJECTS),
    Setting(
        "allow.user.expunge.recover.vm",
        False,
        "users may expunge and recover their virtual machines",
        scopes=(Domain, Account),
        group=_VMS,
    ),
    Setting(
        "cpu.overprovisioning.factor",
        1.0,
        "MHz given out for each MHz of a cluster's hosts; new clusters take the global value",
        "Advanced",
        1,
        100,
        scopes=(Cluster,),
        group=_HOSTS,
    ),
    _threshold("cluster.cpu.allocated", "a cluster's CPU that is claimed"),
    _threshold("cluster.memory.allocated", "a cluster's memory that is claimed"),
    _threshold("cluster.storage", "a cluster's primary storage that is used"),
    _threshold("cluster.storage.allocated", "a cluster's primary storage that is claimed"),
    Setting(
        "default.page.size",
        500,
        "the rows of a list without paging, and the largest page",
        "Advanced",
        1,
        100_000,
        group=("Management Server", "API"),
    ),
    Setting(
        "enforce.post.requests.and.timestamps",
        False,
        "refuse changes by GET and requests without expiry",
        "Secure",
        group=_REQUESTS,
    ),
    Setting("expunge.delay", 86400, "seconds from destroying a virtual machine to expunging it", group=_VMS),
    Setting(
        "expunge.interval", 600, "seconds between looks for virtual machines to expunge", "Advanced", 1, group=_VMS
    ),
    Setting(
        "guest.domain.suffix",
        "cs.cloud.internal",
        "the DNS suffix of guest networks that name none",
        "Network",
        pattern=r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62})){0,8}",
        scopes=(Zone,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "host.down.seconds",
        60,
        "seconds without a sign of life until a host counts as down",
        "Advanced",
        5,
        86400,
        group=_HOSTS,
    ),
    Setting("job.expire.minutes", 1440, "minutes that ended jobs are kept", "Advanced", 1, group=_JOBS),
    Setting(
        "mem.overprovisioning.factor",
        1.0,
        "bytes given out for each byte of a cluster's hosts; new clusters take the global value",
        "Advanced",
        1,
        100,
        scopes=(Cluster,),
        group=_HOSTS,
    ),
    Setting(
        "oauth2.allowed.networks",
        "",
        "private networks in which OAuth providers may be, as CIDRs separated by commas",
        "Secure",
        pattern=_CIDRS,
        group=_LOGIN,
    ),
    Setting("oauth2.enabled", False, "users may log in by OAuth providers", "Secure", group=_LOGIN),
    Setting(
        "oauth2.login.page",
        "",
        "the page of this server to which browsers come after a login at /client/oauth, with #sessionkey=; without "
        "one they get the answer of a login",
        "Secure",
        pattern=r"(/([A-Za-z0-9._~-][A-Za-z0-9._~/-]*)?)?",
        group=_LOGIN,
    ),
    Setting(
        "project.invite.required",
        False,
        "who is added to a project is asked first",
        "Project Defaults",
        group=_PROJECTS,
    ),
    Setting("usage.records.retention.days", 0, "days that usage records are kept; 0 for ever", "Usage", 0, 36500),
    Setting("usage.stats.job.aggregation.range", 1440, "the minutes of use in one usage record", "Usage", 1, 1440),
    Setting(
        "project.invite.timeout",
        86400,
        "seconds until an invitation to a project expires",
        "Project Defaults",
        1,
        group=_PROJECTS,
    ),
    Setting(
        "storage.overprovisioning.factor",
        2.0,
        "bytes given out for each byte of a storage pool; new pools take the global value",
        "Storage",
        1,
        100,
        scopes=(StoragePool,),
        group=("Storage", "Primary Storage"),
    ),
    Setting(
        "vm.userdata.max.length",
        32768,
        "the longest user data of a virtual machine, in bytes",
        "Advanced",
        0,
        2**20,
        group=_VMS,
    ),
    Setting("vm.destroy.forcestop", False, "power a virtual machine off when it is destroyed", group=_VMS),
    Setting("vm.password.length", 12, "characters of a generated password", "Advanced", 8, 64, group=_VMS),
    *_limits(),
)

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _ALL}
