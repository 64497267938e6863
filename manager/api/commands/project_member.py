"""Who takes part in a project: accounts, or single users of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, command
from manager.api.errors import Invalid, missing
from manager.api.fields import Choice, Ref, Text, Uuid
from manager.api.response import Int, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.models import (
    Account,
    Domain,
    Project,
    ProjectInvitation,
    ProjectMember,
    ProjectRole,
    User,
    WorkflowRow,
    utcnow,
)
from manager.models.identity import PROJECT
from manager.models.project import ADMIN, EVERY_USER, REGULAR


class MemberUserResponse(Response):
    id = Str("the user's id")
    username = Str("the user's name")
    firstname = Str("the first name")
    lastname = Str("the last name")
    state = Str("enabled or disabled")


class ProjectAccountResponse(Response):
    object_key = "projectaccount"
    projectid = Str("the project's id")
    project = Str("the project")
    accountid = Str("the id of the account that takes part")
    account = Str("that account")
    accounttype = Int("0 user, 1 root administrator, 2 domain administrator")
    userid = Str("the id of the user, where one user takes part by itself")
    username = Str("that user")
    role = Str("Admin or Regular")
    projectroleid = Str("the id of the project role, which says what a regular member may do")
    domainid = Str("the id of the account's domain")
    domain = Str("the account's domain")
    domainpath = Str("the path of that domain")
    user = Many("the account's users, where all of them take part", MemberUserResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[ProjectMember]) -> list[Shown]:
        projects = by_id(call, Project, (row.project_id for row in rows))
        accounts = by_id(call, Account, (row.account_id for row in rows))
        domains = by_id(call, Domain, (account.domain_id for account in accounts.values()))
        users = call.session.scalars(select(User).where(User.account_id.in_(accounts), User.removed.is_(None))).all()
        return [
            {
                "projectid": row.project_id,
                "project": projects[row.project_id].name,
                "role": row.role,
                "projectroleid": row.project_role_id,
                **_account(accounts[row.account_id], domains[accounts[row.account_id].domain_id]),
                **_users(row, users),
            }
            for row in rows
        ]


def _account(account: Account, domain: Domain) -> Shown:
    return {
        "accountid": account.id,
        "account": account.name,
        "accounttype": account.type,
        "domainid": domain.id,
        "domain": domain.name,
        "domainpath": domain.shown_path,
    }


def _users(member: ProjectMember, users: Sequence[User]) -> Shown:
    if member.user_id:
        name = next((user.username for user in users if user.id == member.user_id), None)
        return {"userid": member.user_id, "username": name}
    shown = [
        {"id": user.id, "username": user.username, "firstname": user.first_name, "lastname": user.last_name,
         "state": user.state}
        for user in users if user.account_id == member.account_id
    ]  # fmt: skip
    return {"user": shown}


class ListProjectAccounts(ListRequest):
    projectid = Ref(Project, "the project", required=True)
    account = Text("only this account")
    userid = Uuid("only this user")
    role = Choice("only members of this role", (ADMIN, REGULAR))
    projectroleid = Ref(ProjectRole, "only members of this project role")


@command("listProjectAccounts", ListProjectAccounts, ProjectAccountResponse, roles=EVERYONE)
def list_project_accounts(call: Call, given: Given) -> Page:
    """List who takes part in a project."""
    query = select(ProjectMember).join(Account, Account.id == ProjectMember.account_id)
    query = query.where(ProjectMember.project_id == given.projectid.id)
    role_id = given.projectroleid.id if given.projectroleid else None
    for column, value in ((Account.name, given.account), (ProjectMember.user_id, given.userid),
                          (ProjectMember.role, given.role), (ProjectMember.project_role_id, role_id)):  # fmt: skip
        if value is not None:
            query = query.where(column == value)
    if given.keyword:
        query = query.where(Account.name.contains(given.keyword, autoescape=True))
    return call.paged(query.order_by(Account.name, ProjectMember.id))


@dataclass(frozen=True)
class Joining:
    """A part in a project that somebody shall have; `user_id` is '' for the whole account."""

    project: Project
    account_id: str
    user_id: str
    role: str
    project_role_id: str | None = None
    name: str = ""


class NewMember(Request):
    projectid = Ref(Project, "the project", required=True, right=access.MANAGE)
    roletype = Choice("Admin or Regular", (ADMIN, REGULAR), default=REGULAR)
    projectroleid = Ref(ProjectRole, "the project role, which says what a regular member may do")


class AddAccountToProject(NewMember):
    account = Text("the account, of the project's domain")


class AddUserToProject(NewMember):
    username = Text("the user, of the project's domain", required=True)


@command(
    "addAccountToProject", AddAccountToProject, SuccessResponse, is_async=True, roles=EVERYONE,
    event="PROJECT.ACCOUNT.ADD",
)  # fmt: skip
def add_account_to_project(
    call: Call, projectid: Project, account: str | None, roletype: str, projectroleid: ProjectRole | None
) -> WorkflowRow:
    """Have an account take part in a project, or ask it to where invitations are required."""
    if account is None:
        raise missing(call.command, "account")
    query = select(Account).where(Account.name == account, Account.domain_id == projectid.domain_id)
    found = call.session.scalar(query.where(Account.removed.is_(None), Account.type != PROJECT))
    if found is None:
        raise Invalid(f"There is no account {account} in the domain of the project {projectid.name}.")
    role_id = _project_role(projectid, projectroleid)
    return _take_in(call, Joining(projectid, found.id, EVERY_USER, roletype, role_id, f"account {account}"))


@command("addUserToProject", AddUserToProject, SuccessResponse, is_async=True, roles=EVERYONE, event="PROJECT.USER.ADD")
def add_user_to_project(
    call: Call, projectid: Project, username: str, roletype: str, projectroleid: ProjectRole | None
) -> WorkflowRow:
    """Have one user take part in a project, or ask it to where invitations are required."""
    query = select(User).join(Account, Account.id == User.account_id).where(User.username == username)
    found = call.session.scalar(query.where(User.removed.is_(None), Account.domain_id == projectid.domain_id))
    if found is None:
        raise Invalid(f"There is no user {username} in the domain of the project {projectid.name}.")
    role_id = _project_role(projectid, projectroleid)
    return _take_in(call, Joining(projectid, found.account_id, found.id, roletype, role_id, f"user {username}"))


def _project_role(project: Project, role: ProjectRole | None) -> str | None:
    if role is not None and role.project_id != project.id:
        raise Invalid(f"The project role {role.name} is not one of the project {project.name}.")
    return None if role is None else role.id


def _take_in(call: Call, joining: Joining) -> WorkflowRow:
    access.demand_active(call, joining.project)
    key = {"project_id": joining.project.id, "account_id": joining.account_id, "user_id": joining.user_id}
    if call.session.scalar(select(ProjectMember.id).filter_by(**key)) is not None:
        raise Invalid(f"The {joining.name} takes part in the project {joining.project.name} already.")
    if configuration.value(call.session, "project.invite.required"):
        _invite(call, joining, key)
    else:
        join(call, joining)
    return call.job_done(joining.project)


def join(call: Call, joining: Joining) -> None:
    """Store the part.

    :raises Invalid: it is there already
    """
    call.add(
        ProjectMember(
            project_id=joining.project.id,
            account_id=joining.account_id,
            user_id=joining.user_id,
            role=joining.role,
            project_role_id=joining.project_role_id if joining.role == REGULAR else None,
        ),
        taken=f"The {joining.name} takes part in the project {joining.project.name} already.",
    )


def _invite(call: Call, joining: Joining, key: dict[str, str]) -> None:
    timeout = dt.timedelta(seconds=configuration.value(call.session, "project.invite.timeout"))
    invitation = call.session.scalar(select(ProjectInvitation).filter_by(**key))
    if invitation is None:
        invitation = ProjectInvitation(**key, expires=utcnow() + timeout)
    elif invitation.state == "Pending" and invitation.expires > utcnow():
        raise Invalid(f"The {joining.name} is invited to the project {joining.project.name} already.")
    invitation.state, invitation.expires = "Pending", utcnow() + timeout
    invitation.role, invitation.project_role_id = joining.role, joining.project_role_id
    call.add(invitation, taken=f"The {joining.name} is being invited by another call.")


class DeleteAccountFromProject(Request):
    projectid = Ref(Project, "the project", required=True, right=access.MANAGE)
    account = Text("the account", required=True)


@command(
    "deleteAccountFromProject", DeleteAccountFromProject, SuccessResponse, is_async=True, roles=EVERYONE,
    event="PROJECT.ACCOUNT.REMOVE",
)  # fmt: skip
def delete_account_from_project(call: Call, projectid: Project, account: str) -> WorkflowRow:
    """End an account's part in a project. What it made there stays the project's."""
    query = select(ProjectMember).join(Account, Account.id == ProjectMember.account_id)
    query = query.where(Account.name == account, ProjectMember.user_id == EVERY_USER)
    return _part(call, projectid, call.session.scalar(query.filter(ProjectMember.project_id == projectid.id)), account)


class DeleteUserFromProject(Request):
    projectid = Ref(Project, "the project", required=True, right=access.MANAGE)
    userid = Uuid("the user", required=True)


@command(
    "deleteUserFromProject", DeleteUserFromProject, SuccessResponse, is_async=True, roles=EVERYONE,
    event="PROJECT.USER.REMOVE",
)  # fmt: skip
def delete_user_from_project(call: Call, projectid: Project, userid: str) -> WorkflowRow:
    """End the part that a user has in a project by itself."""
    query = select(ProjectMember).filter_by(project_id=projectid.id, user_id=userid)
    return _part(call, projectid, call.session.scalar(query), userid)


def _part(call: Call, project: Project, member: ProjectMember | None, name: str) -> WorkflowRow:
    if member is None:
        raise Invalid(f"{name} takes no part in the project {project.name}.")
    if member.role == ADMIN and member.account_id == project.owner_id:
        raise Invalid(f"{name} owns the project {project.name}; make another account its owner first.")
    key = {"project_id": project.id, "account_id": member.account_id, "user_id": member.user_id}
    call.session.execute(delete(ProjectInvitation).filter_by(**key))
    call.session.delete(member)
    return call.job_done(project)
