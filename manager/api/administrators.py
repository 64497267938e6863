"""The cloud keeps somebody who can administer it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, not_, select

from manager.api.call import Call
from manager.api.errors import Invalid
from manager.models import Account, Role, User
from manager.models.identity import ROOT_ADMIN
from manager.roles import ROOT_ADMIN_ROLE


def demand_another(call: Call, going: ColumnElement[bool]) -> None:
    """Refuse what would leave nobody: `going` tells which users, or users of which accounts, are about to go.

    The accounts of root administrators stay locked until the call has ended, so that two of them never remove each
    other.

    :raises Invalid: no enabled user with the role Root Admin is left
    """
    full = (
        Account.type == ROOT_ADMIN,
        Account.removed.is_(None),
        Account.role_id.in_(select(Role.id).where(Role.is_default, Role.name == ROOT_ADMIN_ROLE)),
    )
    call.session.execute(select(Account.id).where(*full).order_by(Account.id).with_for_update())
    enabled = (Account.state == "enabled", User.state == "enabled", User.removed.is_(None))
    query = select(func.count(User.id)).join(Account, Account.id == User.account_id).where(*full, *enabled)
    if not call.session.scalar(query.where(not_(going))):
        raise Invalid(f"Nobody with the role {ROOT_ADMIN_ROLE} would be left to administer the cloud.")
