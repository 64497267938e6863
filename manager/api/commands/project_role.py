"""Roles within a project: what its regular members may do there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import delete, func, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, ListRequest, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Choice, ListOf, Ref, Text, Uuid
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.models import Project, ProjectInvitation, ProjectMember, ProjectRole, ProjectRolePermission

RULE = re.compile(r"[A-Za-z0-9*]{1,255}")
PERMISSIONS = ("allow", "deny")


class ProjectRoleResponse(Response):
    object_key = "projectrole"
    shows = ProjectRole
    id = Str("the role's id")
    projectid = Str("the id of its project")
    name = Str("its name")
    description = Str("what it is for")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[ProjectRole]) -> list[Shown]:
        return [
            {"id": row.id, "projectid": row.project_id, "name": row.name, "description": row.description}
            for row in rows
        ]


class InProject(Request):
    projectid = Ref(Project, "the project", required=True, right=access.MANAGE)


class CreateProjectRole(InProject):
    name = Text("its name, new in the project", required=True)
    description = Text("what it is for")


@command(
    "createProjectRole", CreateProjectRole, ProjectRoleResponse, creates=True, roles=EVERYONE,
    event="PROJECT.ROLE.CREATE",
)  # fmt: skip
def create_project_role(call: Call, projectid: Project, name: str, description: str | None) -> ProjectRole:
    """Make a role for members of a project. Without rules it allows nothing."""
    role = ProjectRole(
        project_id=projectid.id, name=name, description=description or "", live=f"{projectid.id}/{name.lower()}"
    )
    made: ProjectRole = call.add(role, taken=f"The project {projectid.name} has a role {name} already.")
    return made


class UpdateProjectRole(InProject):
    id = Ref(ProjectRole, "the role", required=True)
    name = Text("its new name")
    description = Text("what it is for")


@command("updateProjectRole", UpdateProjectRole, ProjectRoleResponse, roles=EVERYONE, event="PROJECT.ROLE.UPDATE")
def update_project_role(
    call: Call, projectid: Project, id: ProjectRole, name: str | None, description: str | None
) -> ProjectRole:
    """Change how a project role is called and described."""
    _demand_of(id, projectid)
    if name:
        id.name, id.live = name, f"{projectid.id}/{name.lower()}"
    if description is not None:
        id.description = description
    call.flush(taken=f"The project {projectid.name} has a role {name} already.")
    return id


def _demand_of(role: ProjectRole, project: Project) -> None:
    if role.project_id != project.id:
        raise Invalid(f"The project role {role.name} is not one of the project {project.name}.")


class DeleteProjectRole(InProject):
    id = Ref(ProjectRole, "the role", required=True)


@command("deleteProjectRole", DeleteProjectRole, SuccessResponse, roles=EVERYONE, event="PROJECT.ROLE.DELETE")
def delete_project_role(call: Call, projectid: Project, id: ProjectRole) -> bool:
    """Remove a project role that no member has."""
    _demand_of(id, projectid)
    held = sum(
        call.session.scalar(select(func.count()).select_from(part).where(part.project_role_id == id.id)) or 0
        for part in (ProjectMember, ProjectInvitation)
    )
    if held:
        raise Invalid(f"The project role {id.name} is that of {held} members or invited; give them another first.")
    call.session.execute(delete(ProjectRolePermission).where(ProjectRolePermission.role_id == id.id))
    id.remove()
    return True


class ListProjectRoles(ListRequest):
    projectid = Ref(Project, "the project", required=True)
    projectroleid = Ref(ProjectRole, "only this role")
    name = Text("only the role of this name")


@command("listProjectRoles", ListProjectRoles, ProjectRoleResponse, roles=EVERYONE)
def list_project_roles(
    call: Call, projectid: Project, projectroleid: ProjectRole | None, name: str | None, keyword: str | None
) -> Page:
    """List the roles of a project."""
    query = select(ProjectRole).where(ProjectRole.project_id == projectid.id, ProjectRole.removed.is_(None))
    if projectroleid is not None:
        query = query.where(ProjectRole.id == projectroleid.id)
    if name is not None:
        query = query.where(ProjectRole.name == name)
    if keyword:
        query = query.where(ProjectRole.name.contains(keyword, autoescape=True))
    return call.paged(query.order_by(ProjectRole.name, ProjectRole.id))


class ProjectRolePermissionResponse(Response):
    object_key = "projectrolepermission"
    shows = ProjectRolePermission
    id = Str("the rule's id")
    projectroleid = Str("the id of its role")
    projectrolename = Str("its role")
    projectid = Str("the id of the project")
    rule = Str("the commands that it is about: letters, and * for any")
    permission = Str("allow or deny")
    description = Str("what it is for")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ProjectRolePermission]) -> list[Shown]:
        roles = by_id(call, ProjectRole, (row.role_id for row in rows))
        return [
            {
                "id": row.id,
                "projectroleid": row.role_id,
                "projectrolename": roles[row.role_id].name,
                "projectid": roles[row.role_id].project_id,
                "rule": row.rule,
                "permission": row.permission,
                "description": row.description,
            }
            for row in rows
        ]


class CreateProjectRolePermission(InProject):
    projectroleid = Ref(ProjectRole, "the role", required=True, right=access.MANAGE)
    rule = Text("the commands that it is about: letters, and * for any", required=True)
    permission = Choice("allow or deny", PERMISSIONS, required=True)
    description = Text("what it is for")


@command(
    "createProjectRolePermission", CreateProjectRolePermission, ProjectRolePermissionResponse, creates=True,
    roles=EVERYONE, event="PROJECT.ROLE.PERMISSION.CREATE",
)  # fmt: skip
def create_project_role_permission(
    call: Call, projectid: Project, projectroleid: ProjectRole, rule: str, permission: str, description: str | None
) -> ProjectRolePermission:
    """Add a rule at the end of a project role. The first rule that matches a command decides."""
    _demand_of(projectroleid, projectid)
    if not RULE.fullmatch(rule):
        raise Invalid(f"The rule {rule} is not a command, or letters with * for any.")
    last = select(func.max(ProjectRolePermission.position)).filter_by(role_id=projectroleid.id)
    made: ProjectRolePermission = call.add(
        ProjectRolePermission(
            role_id=projectroleid.id,
            rule=rule,
            permission=permission,
            description=description or "",
            position=(call.session.scalar(last) or 0) + 1,
        ),
        taken=f"The project role {projectroleid.name} has a rule {rule} already.",
    )
    return made


class UpdateProjectRolePermission(InProject):
    projectroleid = Ref(ProjectRole, "the role", required=True, right=access.MANAGE)
    ruleorder = ListOf(Uuid("a rule"), "the ids of all its rules, in their new order")
    projectrolepermissionid = Ref(ProjectRolePermission, "the rule whose permission changes", right=access.MANAGE)
    permission = Choice("its new permission", PERMISSIONS)


@command(
    "updateProjectRolePermission", UpdateProjectRolePermission, SuccessResponse, roles=EVERYONE,
    event="PROJECT.ROLE.PERMISSION.UPDATE",
)  # fmt: skip
def update_project_role_permission(
    call: Call,
    projectid: Project,
    projectroleid: ProjectRole,
    ruleorder: list[str] | None,
    projectrolepermissionid: ProjectRolePermission | None,
    permission: str | None,
) -> bool:
    """Change the order of a project role's rules, or the permission of one of them."""
    _demand_of(projectroleid, projectid)
    one = projectrolepermissionid is not None and permission is not None
    if one == (ruleorder is not None) or (projectrolepermissionid is None) != (permission is None):
        raise Invalid("Give either ruleorder, or projectrolepermissionid together with permission.")
    if projectrolepermissionid is not None and permission is not None:
        if projectrolepermissionid.role_id != projectroleid.id:
            raise Invalid(f"The rule {projectrolepermissionid.id} is not one of the role {projectroleid.name}.")
        projectrolepermissionid.permission = permission
        return True
    rules = {row.id: row for row in call.session.scalars(
        select(ProjectRolePermission).filter_by(role_id=projectroleid.id).with_for_update()
    )}  # fmt: skip
    if ruleorder is None or sorted(ruleorder) != sorted(rules):
        raise Invalid(f"The parameter ruleorder must name each of the {len(rules)} rules of the role once.")
    for position, rule_id in enumerate(ruleorder, 1):
        rules[rule_id].position = position
    return True


class DeleteProjectRolePermission(InProject):
    id = Ref(ProjectRolePermission, "the rule", required=True)


@command(
    "deleteProjectRolePermission", DeleteProjectRolePermission, SuccessResponse, roles=EVERYONE,
    event="PROJECT.ROLE.PERMISSION.DELETE",
)  # fmt: skip
def delete_project_role_permission(call: Call, projectid: Project, id: ProjectRolePermission) -> bool:
    """Remove a rule of a project role."""
    _demand_of(call.session.get_one(ProjectRole, id.role_id), projectid)
    call.session.delete(id)
    return True


class ListProjectRolePermissions(Request):
    projectid = Ref(Project, "the project", required=True)
    projectroleid = Ref(ProjectRole, "only rules of this role")


@command("listProjectRolePermissions", ListProjectRolePermissions, ProjectRolePermissionResponse, roles=EVERYONE)
def list_project_role_permissions(call: Call, projectid: Project, projectroleid: ProjectRole | None) -> Page:
    """List the rules of project roles, in their order."""
    query = select(ProjectRolePermission).join(ProjectRole, ProjectRole.id == ProjectRolePermission.role_id)
    query = query.where(ProjectRole.project_id == projectid.id, ProjectRole.removed.is_(None))
    if projectroleid is not None:
        query = query.where(ProjectRole.id == projectroleid.id)
    order = (ProjectRole.name, ProjectRole.id, ProjectRolePermission.position, ProjectRolePermission.id)
    return call.window(call.session.scalars(query.order_by(*order)).all())
