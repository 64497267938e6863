"""Rows with sensible defaults: `factory(Zone, name='z')`. What a row must refer to is made on the way."""

from __future__ import annotations

import itertools
from typing import Any

from sqlalchemy import Engine, select

from manager import db
from manager.models import Account, Domain, ResourceUse, Role, User
from tests.factories.defaults import DEFAULTS

_numbers = itertools.count(1000)


class Factory:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, model: type[Any], **values: Any) -> Any:
        """A stored row of `model`. Defaults that are callables get this factory, and a number that nothing else has."""
        number = next(_numbers)
        for name, default in DEFAULTS.get(model, {}).items():
            if name not in values:
                values[name] = default(self, number) if callable(default) else default
        with db.transaction(self.engine) as session:
            row = model(**values)
            session.add(row)
            session.flush()
            return row

    def change(self, row: Any, **values: Any) -> Any:
        """The row, with other values stored."""
        with db.transaction(self.engine) as session:
            stored = session.get_one(type(row), row.id)
            for name, value in values.items():
                setattr(stored, name, value)
            return stored

    def first(self, model: type[Any], **values: Any) -> Any:
        with db.transaction(self.engine) as session:
            return session.scalars(select(model).filter_by(**values).limit(1)).one()

    @property
    def root(self) -> Domain:
        return self.first(Domain, path="/")

    def domain(self, name: str, parent: Domain | None = None) -> Domain:
        above = parent or self.root
        return self(
            Domain, name=name, parent_id=above.id, path=f"{above.path}{name}/", level=above.level + 1,
            live=f"{above.id}/{name}",
        )  # fmt: skip

    def account(self, name: str, domain: Domain | None = None, *, type: int = 0) -> Account:  # noqa: A002 - a column
        place = domain or self.root
        role = self.first(Role, name={1: "Root Admin", 2: "Domain Admin"}.get(type, "User"))
        account = self(Account, name=name, domain_id=place.id, type=type, role_id=role.id, live=f"{place.id}/{name}")
        self(ResourceUse, account_id=account.id)
        return account

    def user(self, name: str, account: Account | None = None) -> User:
        """A user, in an account of its own name unless `account` is given. Its password is `password`."""
        owner = account or self.account(name)
        return self(User, account_id=owner.id, username=name, live=f"{owner.domain_id}/{name}")
