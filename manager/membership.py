"""Who takes part in which projects, and what project roles let them do there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, exists, func, literal, or_, select
from sqlalchemy.orm import aliased

from manager.models import Project, ProjectMember, ProjectRolePermission
from manager.models.project import ADMIN, EVERY_USER

if TYPE_CHECKING:
    from manager.api.call import Call


def member_of(call: Call, *, administers: bool = False) -> Select[Any]:
    """Ids of the projects where the caller takes part and may give its command; with `administers`, as an admin.

    What is said of a user goes before what is said of its account.
    """
    mine = and_(ProjectMember.account_id == call.account.id, ProjectMember.user_id.in_((call.user.id, EVERY_USER)))
    own = aliased(ProjectMember)
    apart = exists().where(
        own.project_id == ProjectMember.project_id, own.account_id == call.account.id, own.user_id == call.user.id
    )
    query = select(ProjectMember.project_id).where(mine, or_(ProjectMember.user_id == call.user.id, ~apart))
    if administers:
        return query.where(ProjectMember.role == ADMIN)
    return query.where(
        or_(ProjectMember.role == ADMIN, ProjectMember.project_role_id.is_(None), _first_rule(call) == "allow")
    )


def _first_rule(call: Call) -> Any:
    """The permission of the first rule of a member's project role that fits the command; NULL when none does."""
    pattern = func.lower(func.replace(ProjectRolePermission.rule, "*", "%"))
    return (
        select(ProjectRolePermission.permission)
        .where(
            ProjectRolePermission.role_id == ProjectMember.project_role_id,
            literal(call.command.lower()).like(pattern),
        )
        .order_by(ProjectRolePermission.position, ProjectRolePermission.id)
        .limit(1)
        .correlate(ProjectMember)
        .scalar_subquery()
    )


def project_accounts(call: Call) -> Select[Any]:
    """The accounts of the projects where the caller takes part."""
    return select(Project.account_id).where(Project.id.in_(member_of(call)), Project.removed.is_(None))
