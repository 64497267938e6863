"""Who may do what: domains, accounts, users, roles, keys, sessions, and what an account has used of its limits."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
    event,
    insert,
)
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id, utcnow
from manager.secrets import Sealed

USER, ROOT_ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, PROJECT = 0, 1, 2, 3, 5
KEYS_ENABLED, KEYS_DISABLED, INHERIT = "Enabled", "Disabled", "Inherit"


class Domain(Entity, Base):
    """`path` is '/' for ROOT and '/a/b/' below it; a domain sees what lies under its path."""

    __tablename__ = "domains"

    name: Mapped[str]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("domains.id"), index=True)
    path: Mapped[str] = mapped_column(String(400), index=True)
    level: Mapped[int] = mapped_column(default=0)
    network_domain: Mapped[str | None]
    state: Mapped[str] = mapped_column(STATE, default="Active")

    @property
    def shown_path(self) -> str:
        """CloudStack's form: 'ROOT/a/b'."""
        return ("ROOT" + self.path).rstrip("/")


class Role(Entity, Base):
    """`type` is Admin, ResourceAdmin, DomainAdmin or User. `manager.roles` declares what default roles permit.

    `is_public` ones are seen by administrators of domains; who has a disabled one may use no command.
    """

    __tablename__ = "roles"

    name: Mapped[str]
    type: Mapped[str] = mapped_column(STATE)
    description: Mapped[str] = mapped_column(default="")
    is_default: Mapped[bool] = mapped_column(default=False)
    is_public: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(STATE, default="enabled")


class RolePermission(Base):
    """A rule of a role: `permission` is allow or deny, `rule` a command's name or a pattern with `*`.

    The first rule that matches counts, in the order of `position`; what none matches is denied.
    """

    __tablename__ = "role_permissions"
    __table_args__ = (UniqueConstraint("role_id", "rule"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    role_id: Mapped[str] = mapped_column(ForeignKey("roles.id"))
    rule: Mapped[str]
    permission: Mapped[str] = mapped_column(STATE)
    description: Mapped[str] = mapped_column(default="")
    position: Mapped[int]


class Account(Entity, Base):
    """`type` is 0 user, 1 root, 2 domain, 3 resource administrator, 5 the account that owns a project's things.

    `number` is small and shown in names. `cleanup_needed` is set while the account goes away with all it holds, and
    stays when that could not be finished. A removed account has the state `removed`.
    """

    __tablename__ = "accounts"

    number: Mapped[int] = mapped_column(Integer, unique=True)
    name: Mapped[str]
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    type: Mapped[int]
    role_id: Mapped[str] = mapped_column(ForeignKey("roles.id"))
    state: Mapped[str] = mapped_column(STATE, default="enabled")
    network_domain: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    default_zone_id: Mapped[str | None] = mapped_column(ForeignKey("zones.id"))
    cleanup_needed: Mapped[bool] = mapped_column(default=False)
    api_key_access: Mapped[str] = mapped_column(STATE, default=INHERIT)


class User(Entity, Base):
    """`failed_logins` counts attempts since the last success, `last_attempt` is when the newest was (database clock).

    Whose `second_factor_mandated` is set sets one up at the next login. `api_key_access` says whether keys sign for
    the user: Enabled, Disabled, or Inherit, as the account's says; the account's Inherit leaves it to the setting
    api.key.access. `source` says who keeps the password: native (here), or ldap (a directory; `password_hash` fits
    nothing).
    """

    __tablename__ = "users"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    username: Mapped[str]
    password_hash: Mapped[str] = mapped_column(Text)
    first_name: Mapped[str] = mapped_column(default="")
    last_name: Mapped[str] = mapped_column(default="")
    email: Mapped[str] = mapped_column(default="")
    timezone: Mapped[str | None]
    state: Mapped[str] = mapped_column(STATE, default="enabled")
    api_key_access: Mapped[str] = mapped_column(STATE, default=INHERIT)
    failed_logins: Mapped[int] = mapped_column(default=0)
    last_attempt: Mapped[float] = mapped_column(Double(), default=0.0)
    second_factor_mandated: Mapped[bool] = mapped_column(default=False)
    source: Mapped[str] = mapped_column(STATE, default="native")


class SecondFactor(Base):
    """A user's second factor; it counts once it is `verified`. `last_step` is the time step of the last code taken."""

    __tablename__ = "second_factors"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    provider: Mapped[str] = mapped_column(STATE)
    secret: Mapped[str] = mapped_column(Sealed)
    verified: Mapped[bool] = mapped_column(default=False)
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)


class ApiKey(Base):
    """A pair of keys of a user. The one without a name, '', is the pair that getUserKeys shows.

    It signs from `starts` until `expires` and from addresses in `allowed_cidrs`; none of these, no such bound. `rules`
    are dicts of rule, permission and description as in RolePermission: they narrow what the user's role permits; []
    narrows nothing.
    """

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    api_key: Mapped[str] = mapped_column(String(128), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    secret_key: Mapped[str] = mapped_column(Sealed)
    name: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(Text, default="")
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    starts: Mapped[dt.datetime | None]
    expires: Mapped[dt.datetime | None]
    allowed_cidrs: Mapped[list[Any]] = mapped_column(default=list)
    rules: Mapped[list[Any]] = mapped_column(default=list)


class LoginSession(Base):
    """A portal session; `token_hash` is SHA-256 of the cookie, so that a copy of the table opens nothing.

    It is `verified` when its user needs no second factor, or has given its code.
    """

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    session_key_hash: Mapped[str] = mapped_column(String(64))
    last_used: Mapped[float] = mapped_column(Double())
    verified: Mapped[bool] = mapped_column(default=True)


class SshKeyPair(Entity, Base):
    __tablename__ = "ssh_key_pairs"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    fingerprint: Mapped[str]
    public_key: Mapped[str] = mapped_column(Text)


class Counted:
    """How much is held of each resource (manager.models.resources); memory and storage in bytes."""

    vms: Mapped[int] = mapped_column(default=0)
    cpus: Mapped[int] = mapped_column(default=0)
    memory: Mapped[int] = mapped_column(BigInteger, default=0)
    volumes: Mapped[int] = mapped_column(default=0)
    primary_storage: Mapped[int] = mapped_column(BigInteger, default=0)
    networks: Mapped[int] = mapped_column(default=0)
    public_addresses: Mapped[int] = mapped_column(default=0)
    templates: Mapped[int] = mapped_column(default=0)
    snapshots: Mapped[int] = mapped_column(default=0)
    vpcs: Mapped[int] = mapped_column(default=0)
    projects: Mapped[int] = mapped_column(default=0)
    secondary_storage: Mapped[int] = mapped_column(BigInteger, default=0)
    backups: Mapped[int] = mapped_column(default=0)
    backup_storage: Mapped[int] = mapped_column(BigInteger, default=0)
    buckets: Mapped[int] = mapped_column(default=0)
    object_storage: Mapped[int] = mapped_column(BigInteger, default=0)
    gpus: Mapped[int] = mapped_column(default=0)


class ResourceUse(Counted, Base):
    """What an account holds, against its limits (-1: none). Claimed by one guarded UPDATE over all columns."""

    __tablename__ = "resource_use"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)


class DomainUse(Counted, Base):
    """What all accounts in a domain and below it hold. ROOT has none: nothing limits it."""

    __tablename__ = "domain_use"

    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), primary_key=True)


@event.listens_for(Domain, "after_insert")
def _count_domain(_mapper: Any, connection: Connection, domain: Domain) -> None:
    """A domain begins with its counters, wherever it is made."""
    if domain.parent_id is not None:
        connection.execute(insert(DomainUse).values(domain_id=domain.id))


class ResourceLimit(Base):
    """An account's limit that differs from the global default; -1 is unlimited."""

    __tablename__ = "resource_limits"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    resource: Mapped[str] = mapped_column(STATE, primary_key=True)
    maximum: Mapped[int] = mapped_column(BigInteger)


class DomainLimit(Base):
    """A domain's limit that differs from that of the domain above it, or from the global default; -1 is unlimited."""

    __tablename__ = "domain_limits"

    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), primary_key=True)
    resource: Mapped[str] = mapped_column(STATE, primary_key=True)
    maximum: Mapped[int] = mapped_column(BigInteger)


class Tag(Base):
    __tablename__ = "tags"

    resource_id: Mapped[str] = mapped_column(ID, primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    resource_type: Mapped[str] = mapped_column(STATE)
    value: Mapped[str] = mapped_column(String(255), default="")
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
