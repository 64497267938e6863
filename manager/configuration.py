"""Global settings: declared here with type, default and range; the database holds those that differ."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.db import after_commit
from manager.models import Configuration

CACHE_SECONDS = 3.0
NO_LIMIT = -1

Value = int | float | bool | str


@dataclass(frozen=True)
class Setting:
    """A declared setting. `kind` is int, float, bool or str; numbers lie within `least` and `most`."""

    name: str
    default: Value
    description: str
    category: str = "Advanced"
    least: float = 0
    most: float = 2**31 - 1
    pattern: str = ""
    scope: str = "Global"

    @property
    def kind(self) -> str:
        return type(self.default).__name__

    @property
    def shown_type(self) -> str:
        """CloudStack's word."""
        return {"int": "Number", "float": "Decimal", "bool": "Boolean", "str": "String"}[self.kind]

    def read(self, text: str) -> Value:
        """The typed value of `text`.

        :raises ValueError: with a sentence, when it is not one
        """
        if self.kind == "bool":
            if text.lower() not in ("true", "false"):
                raise ValueError(f"The setting {self.name} is true or false, not {text}.")
            return text.lower() == "true"
        if self.kind == "str":
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


def _limit(name: str, default: int, what: str) -> Setting:
    return Setting(name, default, f"how many {what} an account may have; -1 for any number", "Account Defaults", -1)


def _threshold(name: str, what: str) -> Setting:
    described = f"the part of {what} from which on an alert is raised"
    return Setting(f"{name}.capacity.notificationthreshold", 0.75, described, "Alert", 0, 1)


_ALL = (
    Setting("alert.drift.minutes", 10, "minutes that drift or an orphan lasts until an alert is raised", "Alert", 0),
    Setting("alert.purge.delay", 0, "days that alerts are kept; 0 for ever", "Alert", 0, 36500),
    Setting("allow.user.expunge.recover.vm", False, "users may expunge and recover their virtual machines", "Advanced"),
    Setting(
        "cpu.overprovisioning.factor", 1.0, "MHz given out for each MHz of a new cluster's hosts", "Advanced", 1, 100
    ),
    Setting(
        "default.page.size", 500, "the rows of a list without paging, and the largest page", "Advanced", 1, 100_000
    ),
    _threshold("cluster.cpu.allocated", "a cluster's CPU that is claimed"),
    _threshold("cluster.memory.allocated", "a cluster's memory that is claimed"),
    _threshold("cluster.storage", "a cluster's primary storage that is used"),
    _threshold("cluster.storage.allocated", "a cluster's primary storage that is claimed"),
    Setting(
        "enforce.post.requests.and.timestamps", False, "refuse changes by GET and requests without expiry", "Secure"
    ),
    Setting("event.purge.delay", 15, "days that events are kept; 0 for ever", "Advanced", 0, 36500),
    Setting("expunge.delay", 86400, "seconds from destroying a virtual machine to expunging it", "Advanced", 0),
    Setting("expunge.interval", 600, "seconds between looks for virtual machines to expunge", "Advanced", 1),
    Setting(
        "guest.domain.suffix",
        "cs.cloud.internal",
        "the DNS suffix of guest networks that name none",
        "Network",
        pattern=r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62})){0,8}",
    ),
    Setting(
        "host.down.seconds", 60, "seconds without a sign of life until a host counts as down", "Advanced", 5, 86400
    ),
    Setting("job.expire.minutes", 1440, "minutes that ended jobs are kept", "Advanced", 1),
    _limit("max.account.cpus", 40, "CPUs"),
    Setting(
        "max.account.memory", 40960, "how many MiB of memory an account may have; -1 for any", "Account Defaults", -1
    ),
    _limit("max.account.networks", 20, "networks"),
    Setting(
        "max.account.primary.storage",
        200,
        "how many GiB of primary storage an account may have; -1 for any",
        "Account Defaults",
        -1,
    ),
    _limit("max.account.public.ips", 20, "public addresses"),
    _limit("max.account.templates", 20, "templates"),
    _limit("max.account.user.vms", 20, "virtual machines"),
    _limit("max.account.volumes", 20, "volumes"),
    Setting(
        "mem.overprovisioning.factor", 1.0, "bytes given out for each byte of a new cluster's hosts", "Advanced", 1, 100
    ),
    Setting(
        "storage.overprovisioning.factor", 2.0, "bytes given out for each byte of a new storage pool", "Storage", 1, 100
    ),
    Setting("usage.records.retention.days", 0, "days that usage records are kept; 0 for ever", "Usage", 0, 36500),
    Setting("usage.stats.job.aggregation.range", 1440, "the minutes of use in one usage record", "Usage", 1, 1440),
    Setting(
        "vm.userdata.max.length", 32768, "the longest user data of a virtual machine, in bytes", "Advanced", 0, 2**20
    ),
    Setting("vm.destroy.forcestop", False, "power a virtual machine off when it is destroyed", "Advanced"),
    Setting("vm.password.length", 12, "characters of a generated password", "Advanced", 8, 64),
    Setting(
        "webhook.allowed.networks",
        "",
        "private networks that webhooks may reach, as CIDRs separated by commas",
        "Webhook",
        pattern=r"([0-9A-Fa-f.:]+/\d{1,3}(, ?[0-9A-Fa-f.:]+/\d{1,3})*)?",
    ),
    Setting("webhook.deliveries.limit", 10, "how many ended deliveries of a webhook are kept", "Webhook", 1, 1000),
    Setting("webhook.delivery.timeout", 10, "seconds until a delivery has failed", "Webhook", 1, 60),
    Setting("webhook.delivery.tries", 3, "how often a delivery is tried", "Webhook", 1, 20),
    _threshold("zone.secstorage", "a zone's secondary storage that is used"),
    _threshold("zone.virtualnetwork.publicip", "a zone's public addresses that are taken"),
)

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _ALL}

_cache: tuple[float, dict[str, str]] = (0.0, {})


def stored(session: Session) -> dict[str, str]:
    """The settings that differ from their defaults, at most `CACHE_SECONDS` old."""
    global _cache  # noqa: PLW0603 - one cache a process, replaced whole
    until, values = _cache
    if time.monotonic() < until:
        return values
    values = stored_now(session)
    _cache = (time.monotonic() + CACHE_SECONDS, values)
    return values


def stored_now(session: Session) -> dict[str, str]:
    """The settings that differ from their defaults, as this transaction sees them."""
    return {row.name: row.value for row in session.execute(select(Configuration.name, Configuration.value))}


def forget() -> None:
    """Have the next look go to the database."""
    global _cache  # noqa: PLW0603 - as above
    _cache = (0.0, {})


def value(session: Session, name: str) -> Any:
    """The setting's value, in the type of its declaration."""
    setting = SETTINGS[name]
    text = stored(session).get(name)
    return setting.default if text is None else setting.read(text)


def change(session: Session, name: str, text: str) -> Setting:
    """Store a setting; other processes follow within `CACHE_SECONDS`.

    :raises ValueError: with a sentence: no such setting, or not its type or range
    """
    setting = SETTINGS.get(name)
    if setting is None:
        raise ValueError(f"There is no setting {name}.")
    written = setting.write(setting.read(text))
    row = session.get(Configuration, name)
    if row is None:
        session.add(Configuration(name=name, value=written))
    else:
        row.value = written
    after_commit(session, forget)
    return setting
