"""One call of the API: who calls, in which session, and what part of a list is wanted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Select, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import configuration
from manager.access import Scope
from manager.api.command import ApiCommand, Page
from manager.api.errors import Invalid
from manager.models import Account, ApiKey, Domain, LoginSession, Role, User, WorkflowRow, utcnow
from manager.models.identity import DOMAIN_ADMIN, RESOURCE_ADMIN, ROOT_ADMIN
from manager.roles import KnownRole, known_role, narrow


@dataclass
class Call:
    """A call by a known caller. `owner` is the account that a creating command acts for; `named_domain` is that of the
    parameters that name it.

    `key` signed the call; without one it belongs to the session `login`. `given` are the parameters as they were sent,
    by lower-case name; handlers get them loaded.
    """

    session: Session
    user: User
    account: Account
    domain: Domain
    role: Role
    api: ApiCommand
    source: str = ""
    user_agent: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    page: int | None = None
    page_size: int | None = None
    only_count: bool = False
    shows_icons: bool = False
    subject: Any = None
    named_owner: Account | None = None
    named_domain: Domain | None = None
    by_get: bool = False
    key: ApiKey | None = None
    login: LoginSession | None = None

    @property
    def command(self) -> str:
        return self.api.name

    @property
    def owner(self) -> Account:
        return self.named_owner or self.account

    @cached_property
    def permitted(self) -> KnownRole:
        """What the caller may do: what its role permits, narrowed by the rules of the key that signed."""
        rules = tuple((rule["rule"], rule["permission"]) for rule in self.key.rules) if self.key is not None else ()
        return narrow(known_role(self.session, self.role.id), rules)

    @property
    def is_root_admin(self) -> bool:
        return self.account.type == ROOT_ADMIN

    @property
    def is_domain_admin(self) -> bool:
        """Whether the caller reaches what is in its domain and below; its role says what it may do there."""
        return self.account.type in (DOMAIN_ADMIN, RESOURCE_ADMIN)

    def paged(self, query: Select[Any], counted: Select[Any] | None = None) -> Page:
        """The page of `query` (of one entity) that is wanted, and how many rows it has in all.

        Counting costs a statement only when there is more than this page. `counted` has as many rows as `query`, where
        that joins much that counting can do without.
        """
        whole = query if counted is None else counted
        counting = whole.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
        if self.only_count:
            return Page([], self.session.scalar(counting) or 0)
        offset, limit = self._window()
        if limit is None:
            rows: Sequence[Any] = self.session.scalars(query).all()
            return Page(rows, len(rows))
        rows = self.session.scalars(query.offset(offset).limit(limit)).all()
        if len(rows) < limit and (rows or not offset):
            return Page(rows, offset + len(rows))
        return Page(rows, self.session.scalar(counting) or 0)

    def window(self, rows: Sequence[Any]) -> Page:
        """The wanted page of rows that are all at hand."""
        offset, limit = self._window()
        end = len(rows) if limit is None else offset + limit
        return Page(rows[offset:end], len(rows))

    def _window(self) -> tuple[int, int | None]:
        if self.page_size == -1:
            return 0, None
        size = self.page_size or int(configuration.value(self.session, "default.page.size"))
        return ((self.page or 1) - 1) * size, size

    def add(self, thing: Any, *, taken: str = "The name is already in use.") -> Any:
        """Store a new thing and give it back.

        :raises Invalid: with the sentence `taken`, when what must be unique (such as `live`) is not
        """
        self.session.add(thing)
        self.flush(taken=taken)
        return thing

    def flush(self, *, taken: str = "The name is already in use.") -> None:
        """As `add`, for a thing that was changed."""
        try:
            self.session.flush()
        except IntegrityError as error:
            raise Invalid(taken) from error

    def job_done(self, subject: Any, *, error: str | None = None, code: int = 530) -> WorkflowRow:
        """A job that has ended, for an asynchronous command whose work is done in the call itself."""
        row = WorkflowRow(
            name="immediate",
            status="failed" if error else "done",
            subject_type=subject.__tablename__,
            subject_id=subject.id,
            error=error,
            error_code=code,
            command=self.command,
            account_id=self.account.id,
            user_id=self.user.id,
            ended=utcnow(),
        )
        self.session.add(row)
        self.session.flush()
        return row


def hours_from_utc(name: str | None) -> str | None:
    """CloudStack's timezoneoffset of a zone name, in hours as text; None for none or an unknown one."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        offset = dt.datetime.now(ZoneInfo(name)).utcoffset() if name else None
    except (ZoneInfoNotFoundError, ValueError):
        return None
    return None if offset is None else str(offset.total_seconds() / 3600)
