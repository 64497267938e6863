"""Settings: declared here with type, default, range and scopes; the database holds those that differ.

A value for an account goes before that for its domain, this before that for a domain above, and all before the
global one; a zone's goes before the global one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, literal, select
from sqlalchemy.orm import Session

from manager.db import after_commit, write
from manager.models import Account, Cluster, Configuration, Domain, ScopedSetting, StoragePool, Zone
from manager.models.resources import RESOURCES

CACHE_SECONDS = 3.0
NO_LIMIT = -1
GLOBAL = "Global"

Value = int | float | bool | str
Key = tuple[str, str, str]
"""Name of the setting, table and id of what it is set for; both '' for the global value."""

SCOPES: dict[type[Any], str] = {
    Zone: "Zone",
    Cluster: "Cluster",
    StoragePool: "StoragePool",
    Domain: "Domain",
    Account: "Account",
}
"""CloudStack's words for what a setting can be set for."""

COLUMNS: dict[tuple[str, type[Any]], str] = {
    ("cpu.overprovisioning.factor", Cluster): "cpu_overcommit",
    ("mem.overprovisioning.factor", Cluster): "memory_overcommit",
    ("storage.overprovisioning.factor", StoragePool): "overprovision",
}
"""Settings whose value for one thing is kept in its own row."""

GROUPS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "Access": (1, "who may do what", ("Accounts", "Domains", "Projects", "Requests")),
    "Compute": (2, "virtual machines, and the hosts that they run on", ("Hosts", "Virtual Machines")),
    "Storage": (3, "volumes and the pools that hold them", ("Primary Storage",)),
    "Network": (4, "networks of tenants", ("Guest Networks",)),
    "Management Server": (5, "the management servers themselves", ("API", "Jobs")),
    "Miscellaneous": (6, "all else", ("Others",)),
}
"""Groups of settings: where each stands among them, what it holds, its subgroups."""


@dataclass(frozen=True)
class Setting:
    """A declared setting. `kind` is int, float, bool or str; numbers lie within `least` and `most`.

    `options` are the only values of a str, where there are any. `scopes` are what it can be set for besides globally.
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
_JOBS = ("Management Server", "Jobs")

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
        pattern=r"([0-9A-Fa-f.:]+/\d{1,3}(, ?[0-9A-Fa-f.:]+/\d{1,3})*)?",
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

_ALL = (
    *_NOTICES,
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

_cache: tuple[float, dict[Key, str]] = (0.0, {})


def stored(session: Session) -> dict[Key, str]:
    """The settings that differ from their defaults, at most `CACHE_SECONDS` old."""
    global _cache  # noqa: PLW0603 - one cache a process, replaced whole
    until, values = _cache
    if time.monotonic() < until:
        return values
    values = stored_now(session)
    _cache = (time.monotonic() + CACHE_SECONDS, values)
    return values


def stored_now(session: Session) -> dict[Key, str]:
    """The settings that differ from their defaults, as this transaction sees them."""
    everywhere = select(
        Configuration.name, literal("").label("scope"), literal("").label("scope_id"), Configuration.value
    )
    here = select(ScopedSetting.name, ScopedSetting.scope, ScopedSetting.scope_id, ScopedSetting.value)
    rows = session.execute(everywhere.union_all(here))
    return {(row.name, row.scope, row.scope_id): row.value for row in rows}


def forget() -> None:
    """Have the next look go to the database."""
    global _cache  # noqa: PLW0603 - as above
    _cache = (0.0, {})


def value(session: Session, name: str, place: Any = None, at_hand: dict[Key, str] | None = None) -> Any:
    """The setting's value in the type of its declaration: that for `place` (an account, a zone ...), else the global.

    `at_hand` is what is stored, for who has read it.
    """
    setting = SETTINGS[name]
    values = stored(session) if at_hand is None else at_hand
    if place is not None and (name, type(place)) in COLUMNS:
        return getattr(place, COLUMNS[name, type(place)])
    text = None
    if place is not None and setting.scopes and any(scope for key, scope, _ in values if key == name):
        text = _own(session, setting, values, place)
    if text is None:
        text = values.get((name, "", ""))
    return setting.default if text is None else setting.read(text)


def _own(session: Session, setting: Setting, values: dict[Key, str], place: Any) -> str | None:
    """What is stored for `place`, else for the nearest domain above it; None for neither."""
    while place is not None:
        found = values.get((setting.name, place.__tablename__, place.id))
        if found is not None and type(place) in setting.scopes:
            return found
        place = _above(session, place)
    return None


def _above(session: Session, place: Any) -> Domain | None:
    if isinstance(place, Account):
        return session.get(Domain, place.domain_id)
    return session.get(Domain, place.parent_id) if isinstance(place, Domain) and place.parent_id else None


def change(session: Session, name: str, text: str | None, place: Any = None) -> Setting:
    """Store a setting, for `place` or globally; without `text` what is stored goes, so that the next one counts.

    Other processes follow within `CACHE_SECONDS`.

    :raises ValueError: with a sentence: no such setting, not for such a place, or not its type or range
    """
    setting = SETTINGS.get(name)
    if setting is None:
        raise ValueError(f"There is no setting {name}.")
    if place is not None and type(place) not in setting.scopes:
        raise ValueError(
            f"The setting {name} cannot be set for a {SCOPES[type(place)]}; its scope is {setting.shown_scope}."
        )
    typed = None if text is None else setting.read(text)
    if place is not None and (name, type(place)) in COLUMNS:
        setattr(place, COLUMNS[name, type(place)], value(session, name) if typed is None else typed)
        return setting
    _store(session, name, None if typed is None else setting.write(typed), place)
    after_commit(session, forget)
    return setting


def _store(session: Session, name: str, text: str | None, place: Any) -> None:
    """Write the row of the setting and place, or delete it without `text`."""
    if place is None:
        model: type[Any] = Configuration
        key = {"name": name}
    else:
        model = ScopedSetting
        key = {"name": name, "scope": place.__tablename__, "scope_id": place.id}
    if text is None:
        write(session, delete(model).filter_by(**key))
        return
    row = session.get(model, key)
    if row is None:
        session.add(model(**key, value=text))
    else:
        row.value = text
