"""What roles permit: the default roles, declared here, and the rules of all others, read at most seconds ago."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.db import after_commit
from manager.models import Role, RolePermission

CACHE_SECONDS = 3.0
ALLOW, DENY = "allow", "deny"
ENABLED, DISABLED = "enabled", "disabled"

Rules = tuple[tuple[str, str], ...]
"""Pairs of a pattern and allow or deny, in the order in which they are tried."""


@dataclass(frozen=True)
class DefaultRole:
    """A role that comes with the cloud. It permits what commands declare for its type, narrowed by `rules`, if any."""

    name: str
    type: str
    description: str
    rules: Rules = ()


def _allow(*patterns: str) -> Rules:
    return tuple((pattern, ALLOW) for pattern in patterns)


_SECOND_FACTOR = _allow("setupUserTwoFactorAuthentication", "validateUserTwoFactorAuthenticationCode")
_QUOTA = _allow("quotaIsEnabled", "quotaTariffList", "quotaSummary", "quotaBalance", "quotaStatement")
_READ: Rules = (
    ("list*", ALLOW),
    ("getUploadParamsFor*", DENY),
    ("get*", ALLOW),
    ("queryAsyncJobResult", ALLOW),
    *_QUOTA,
    *_SECOND_FACTOR,
)
_NOTHING_ELSE: Rules = (("*", DENY),)
_HANDS_ON = _allow(
    "startVirtualMachine", "stopVirtualMachine", "rebootVirtualMachine", "startKubernetesCluster",
    "stopKubernetesCluster", "createVolume", "attachVolume", "detachVolume", "uploadVolume", "attachIso", "detachIso",
    "registerTemplate", "registerIso",
)  # fmt: skip
_UPKEEP = _allow(
    "prepareHostForMaintenance", "cancelHostMaintenance", "enableStorageMaintenance", "cancelStorageMaintenance",
    "createServiceOffering", "createDiskOffering", "createNetworkOffering", "createVPCOffering",
)  # fmt: skip
_UPLOAD = _allow("getUploadParamsFor*")

ROOT_ADMIN_ROLE, RESOURCE_ADMIN_ROLE, DOMAIN_ADMIN_ROLE, USER_ROLE = (
    "Root Admin", "Resource Admin", "Domain Admin", "User",
)  # fmt: skip
_DEFAULTS = (
    DefaultRole(ROOT_ADMIN_ROLE, "Admin", "everything"),
    DefaultRole(RESOURCE_ADMIN_ROLE, "ResourceAdmin", "the things of a domain, not who is in it"),
    DefaultRole(DOMAIN_ADMIN_ROLE, "DomainAdmin", "the accounts and things of a domain and those below it"),
    DefaultRole(USER_ROLE, "User", "the things of the own account"),
    DefaultRole("Read-Only Admin - Default", "Admin", "looks at everything", _READ + _NOTHING_ELSE),
    DefaultRole("Read-Only User - Default", "User", "looks at the things of the own account", _READ + _NOTHING_ELSE),
    DefaultRole("Support Admin - Default", "Admin", "looks at everything, starts and stops, keeps hosts and storage",
                _READ + _UPKEEP + _HANDS_ON + _NOTHING_ELSE),
    DefaultRole("Support User - Default", "User", "looks at the things of the own account, starts and stops them",
                _UPLOAD + _READ + _HANDS_ON + _NOTHING_ELSE),
)  # fmt: skip
DEFAULT_ROLES = {role.name: role for role in _DEFAULTS}
"""By name; the default roles of CloudStack 4.22."""


@dataclass(frozen=True)
class KnownRole:
    """A living role with its rules, as this process last read it; `narrowed` are further rules that must allow too."""

    id: str
    name: str
    type: str
    is_default: bool
    state: str
    rules: Rules
    narrowed: Rules = ()
    decided: dict[str, bool] = field(default_factory=dict, compare=False)

    def permits(self, command: str, declared: Sequence[str]) -> bool:
        """Whether the role permits the command, which is declared for the role types `declared`.

        What is declared for root administrators alone no other type of role can permit.
        """
        if command not in self.decided:
            self.decided[command] = self._decide(command, declared)
        return self.decided[command]

    def _decide(self, command: str, declared: Sequence[str]) -> bool:
        if self.narrowed and not first_match(self.narrowed, command):
            return False
        if self.is_default:
            rules = DEFAULT_ROLES[self.name].rules
            fits = self.type == "Admin" or self.type in declared
            return fits and (not rules or first_match(rules, command))
        if self.type != "Admin" and not set(declared) - {"Admin"}:
            return False
        return first_match(self.rules, command)


def narrow(role: KnownRole, rules: Rules) -> KnownRole:
    """What the role permits and the rules allow; without rules the role itself."""
    return replace(role, narrowed=rules, decided={}) if rules else role


def first_match(rules: Iterable[tuple[str, str]], command: str) -> bool:
    """Whether the first rule that matches allows the command; without one it is denied."""
    name = command.lower()
    for pattern, permission in rules:
        if fnmatch.fnmatchcase(name, pattern.lower()):
            return permission == ALLOW
    return False


_cache: tuple[float, dict[str, KnownRole]] = (0.0, {})


def known_roles(session: Session) -> dict[str, KnownRole]:
    """All living roles by id, at most `CACHE_SECONDS` old."""
    global _cache  # noqa: PLW0603 - one cache a process, replaced whole
    until, roles = _cache
    if time.monotonic() < until:
        return roles
    roles = read_roles(session)
    _cache = (time.monotonic() + CACHE_SECONDS, roles)
    return roles


def known_role(session: Session, role_id: str) -> KnownRole:
    """The role as it was last read; one that is newer than that is read now."""
    found = known_roles(session).get(role_id)
    if found is None:
        forget()
        found = known_roles(session)[role_id]
    return found


def read_roles(session: Session) -> dict[str, KnownRole]:
    """All living roles by id, as this transaction sees them."""
    columns = (Role.id, Role.name, Role.type, Role.is_default, Role.state)
    query = select(*columns, RolePermission.rule, RolePermission.permission).outerjoin(RolePermission)
    found: dict[str, KnownRole] = {}
    rules: dict[str, list[tuple[str, str]]] = {}
    for row in session.execute(query.where(Role.removed.is_(None)).order_by(RolePermission.position)):
        found[row.id] = KnownRole(row.id, row.name, row.type, row.is_default, row.state, ())
        if row.rule is not None:
            rules.setdefault(row.id, []).append((row.rule, row.permission))
    return {
        key: KnownRole(key, role.name, role.type, role.is_default, role.state, tuple(rules.get(key, ())))
        for key, role in found.items()
    }


def forget() -> None:
    """Have the next look go to the database."""
    global _cache  # noqa: PLW0603 - as above
    _cache = (0.0, {})


def changed(session: Session) -> None:
    """A role was changed in this transaction: this process follows at its commit, others within `CACHE_SECONDS`."""
    after_commit(session, forget)
