"""Who takes part in which projects, and what project roles let them do there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, exists, func, literal, or_, select
from sqlalchemy.orm import aliased

from manager.models import Project, ProjectMember, ProjectRolePermission
from manager.models.project import ADMIN, EVERY_USER

if TYPE_CHECKING:
    from manager.api.call import Call

KEPT = 1024
"""How many callers' statements a process keeps."""


def member_of(call: Call, *, administers: bool = False) -> Select[Any]:
    """Ids of the projects where the caller takes part and may give its command; with `administers`, as an admin.

    What is said of a user goes before what is said of its account.
    """
    return _member_of(call.account.id, call.user.id, call.command.lower(), administers=administers)


@lru_cache(maxsize=KEPT)
def _member_of(account_id: str, user_id: str, command: str, *, administers: bool) -> Select[Any]:
    """Kept, since a call may ask several times, and to build it takes longer than to run it."""
    mine = and_(ProjectMember.account_id == account_id, ProjectMember.user_id.in_((user_id, EVERY_USER)))
    own = aliased(ProjectMember)
    apart = exists().where(
        own.project_id == ProjectMember.project_id, own.account_id == account_id, own.user_id == user_id
    )
    query = select(ProjectMember.project_id).where(mine, or_(ProjectMember.user_id == user_id, ~apart))
    if administers:
        return query.where(ProjectMember.role == ADMIN)
    return query.where(
        or_(ProjectMember.role == ADMIN, ProjectMember.project_role_id.is_(None), _first_rule(command) == "allow")
    )


def _first_rule(command: str) -> Any:
    """The permission of the first rule of a member's project role that fits the command; NULL when none does."""
    pattern = func.lower(func.replace(ProjectRolePermission.rule, "*", "%"))
    return (
        select(ProjectRolePermission.permission)
        .where(
            ProjectRolePermission.role_id == ProjectMember.project_role_id,
            literal(command).like(pattern),
        )
        .order_by(ProjectRolePermission.position, ProjectRolePermission.id)
        .limit(1)
        .correlate(ProjectMember)
        .scalar_subquery()
    )


def project_accounts(call: Call) -> Select[Any]:
    """The accounts of the projects where the caller takes part."""
    return _project_accounts(call.account.id, call.user.id, call.command.lower())


@lru_cache(maxsize=KEPT)
def _project_accounts(account_id: str, user_id: str, command: str) -> Select[Any]:
    member = _member_of(account_id, user_id, command, administers=False)
    return select(Project.account_id).where(Project.id.in_(member), Project.removed.is_(None))
