"""Rows that belong to somebody: what a test gives a caller as its own, or as what another one owns."""

from __future__ import annotations

from typing import Any

from manager import models as m
from manager.access import OFFERINGS
from manager.models import Account, Domain, Role, User
from manager.models.project import ADMIN
from tests.factories import DEFAULTS, Factory

SHARED = frozenset({m.Zone, m.OsType, m.OsCategory, m.Region, m.CustomAction})
"""What belongs to nobody and everyone may see. Else what has no owner is the root administrators'."""


class NoFactory(Exception):  # noqa: N818 - it names what happened
    """Nothing in tests/factories makes a row of the model."""


class Belongings:
    """One row of a model for each account, made when it is first wanted.

    `projects` are those whose own accounts are asked for, by the id of that account.
    """

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.projects: dict[str, m.Project] = {}
        self._made: dict[tuple[Any, str, bool], str] = {}

    def of(self, model: type[Any], account: Account, *, removed: bool = False) -> str | None:
        """The id of a row that belongs to the account, or to nobody; None where the model has none such.

        :raises NoFactory: the model is not known to tests/factories
        """
        key = (model, account.id if is_owned(model) else "", removed)
        if key not in self._made:
            if removed and not hasattr(model, "removed"):
                return None
            self._made[key] = self._make(model, account, removed=removed)
        return self._made[key]

    def _make(self, model: type[Any], account: Account, *, removed: bool) -> str:
        if not removed and model in KNOWN:
            return str(KNOWN[model](self.factory, account))
        if not removed and model is m.Project and account.id in self.projects:
            return self.projects[account.id].id
        row = self._row(model, account)
        if removed:
            self.factory.change(row, removed=m.utcnow(), live=None)
        return str(row.id)

    def _row(self, model: type[Any], account: Account) -> Any:
        if model is Domain:
            return self.factory.domain(f"gone-{m.new_id()}")
        if model is Account:
            return self.factory.account(f"gone-{m.new_id()}", self.factory.first(Domain, id=account.domain_id))
        if model is User:
            return self.factory.user(f"gone-{m.new_id()}", account)
        if model not in DEFAULTS:
            raise NoFactory(model.__name__)
        if model is m.Project:
            return self._project(account)
        if model in PARTS:
            column, whole = PARTS[model]
            return self.factory(model, **{column: self.of(whole, account)})
        row = self.factory(model, **self._owner(model, account))
        if model in OFFERINGS:
            self.factory(m.OfferingDomain, offering_id=row.id, domain_id=account.domain_id)
        return row

    def _owner(self, model: type[Any], account: Account) -> dict[str, str]:
        if model is m.ProjectInvitation and account.id in self.projects:
            project = self.projects[account.id]
            return {"project_id": project.id, "account_id": project.owner_id}
        return {"account_id": account.id} if hasattr(model, "account_id") else {}

    def _project(self, account: Account) -> Any:
        """One that the account administers; a project's own account is nobody's."""
        project = self.factory(m.Project, owner_id=account.id, domain_id=account.domain_id)
        self.factory(m.ProjectMember, project_id=project.id, account_id=account.id, role=ADMIN)
        return project


def is_owned(model: type[Any]) -> bool:
    """Whether rows of the model belong to an account, or to the domain that it is in."""
    return hasattr(model, "account_id") or model in KNOWN or model in OFFERINGS or model in PARTS


PARTS: dict[type[Any], tuple[str, type[Any]]] = {
    m.ApiKey: ("user_id", User),
    m.Nic: ("vm_id", m.Vm),
    m.NicAddress: ("nic_id", m.Nic),
    m.ProjectRole: ("project_id", m.Project),
    m.ProjectRolePermission: ("role_id", m.ProjectRole),
}
"""What belongs to whom its whole belongs to, which the column names."""


KNOWN: dict[type[Any], Any] = {
    Account: lambda _factory, account: account.id,
    User: lambda factory, account: factory.first(User, account_id=account.id).id,
    Domain: lambda _factory, account: account.domain_id,
    Role: lambda _factory, account: account.role_id,
}
"""What an account has from the beginning."""
