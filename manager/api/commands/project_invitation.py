"""Invitations to take part in projects."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, select, update

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, OwnerListRequest, Page, Request, command
from manager.api.commands.project_member import Joining, join
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Ref, Text, Uuid
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.db import write
from manager.models import Account, Domain, Project, ProjectInvitation, WorkflowRow, utcnow
from manager.models.project import EVERY_USER

STATES = ("Pending", "Completed", "Declined", "Expired")


class ProjectInvitationResponse(Response):
    object_key = "projectinvitation"
    shows = ProjectInvitation
    id = Str("the invitation's id")
    projectid = Str("the id of the project")
    project = Str("the project")
    domainid = Str("the id of the project's domain")
    domain = Str("the project's domain")
    domainpath = Str("the path of that domain")
    account = Str("the account that is invited")
    userid = Str("the user that is invited, where it is one")
    state = Str("Pending, Completed, Declined or Expired")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ProjectInvitation]) -> list[Shown]:
        projects = by_id(call, Project, (row.project_id for row in rows))
        domains = by_id(call, Domain, (project.domain_id for project in projects.values()))
        accounts = by_id(call, Account, (row.account_id for row in rows))
        return [_describe(row, projects[row.project_id], domains, accounts[row.account_id]) for row in rows]


def _describe(row: ProjectInvitation, project: Project, domains: dict[str, Domain], account: Account) -> Shown:
    late = row.state == "Pending" and row.expires <= utcnow()
    return {
        "id": row.id,
        "projectid": project.id,
        "project": project.name,
        "domainid": project.domain_id,
        "domain": domains[project.domain_id].name,
        "domainpath": domains[project.domain_id].shown_path,
        "account": account.name,
        "userid": row.user_id or None,
        "state": "Expired" if late else row.state,
    }


class ListProjectInvitations(OwnerListRequest):
    id = Ref(ProjectInvitation, "only this invitation")
    projectid = Ref(Project, "invitations to this project, for who administers it", right=access.ANSWER)
    userid = Uuid("only invitations of this user")
    state = Choice("only invitations in this state", STATES)
    activeonly = Flag("only those that can still be answered", default=False)


@command("listProjectInvitations", ListProjectInvitations, ProjectInvitationResponse, roles=EVERYONE)
def list_project_invitations(call: Call, given: Given) -> Page:
    """List invitations: those of the caller's account, or those to a project that the caller administers."""
    query = select(ProjectInvitation).join(Project, Project.id == ProjectInvitation.project_id)
    if given.projectid is not None:
        query = query.where(ProjectInvitation.project_id == given.projectid.id)
        query = query.where(access.reach(call, ProjectInvitation, access.READ))
    else:
        query = query.where(access.visible(call, ProjectInvitation))
    if given.id is not None:
        query = query.where(ProjectInvitation.id == given.id.id)
    if given.userid is not None:
        query = query.where(ProjectInvitation.user_id == given.userid)
    if given.keyword:
        query = query.where(Project.name.contains(given.keyword, autoescape=True))
    state = "Pending" if given.activeonly else given.state
    if state is not None:
        query = query.where(_in_state(state))
    return call.paged(query.order_by(ProjectInvitation.created, ProjectInvitation.id))


def _in_state(state: str) -> ColumnElement[bool]:
    pending = ProjectInvitation.state == "Pending"
    if state == "Pending":
        return and_(pending, ProjectInvitation.expires > utcnow())
    if state == "Expired":
        return and_(pending, ProjectInvitation.expires <= utcnow())
    return ProjectInvitation.state == state


class UpdateProjectInvitation(Request):
    projectid = Ref(Project, "the project", required=True, right=access.ANSWER)
    account = Text("the account that is invited; the caller's when absent")
    userid = Uuid("the user that is invited; for the caller when absent")
    accept = Flag("true to take part, false to decline", default=True)


@command(
    "updateProjectInvitation", UpdateProjectInvitation, SuccessResponse, is_async=True, roles=EVERYONE,
    event="PROJECT.INVITATION.UPDATE",
)  # fmt: skip
def update_project_invitation(
    call: Call, projectid: Project, account: str | None, userid: str | None, accept: bool
) -> WorkflowRow:
    """Answer an invitation to take part in a project."""
    invitation = _invitation(call, projectid, account, userid)
    answered = write(
        call.session,
        update(ProjectInvitation)
        .where(ProjectInvitation.id == invitation.id, _in_state("Pending"))
        .values(state="Completed" if accept else "Declined"),
    )
    if not answered:
        raise Invalid(f"The invitation to the project {projectid.name} is answered already, or has expired.")
    if accept:
        access.demand_active(call, projectid)
        part = invitation
        join(call, Joining(projectid, part.account_id, part.user_id, part.role, part.project_role_id, "member"))
    return call.job_done(projectid)


def _invitation(call: Call, project: Project, account: str | None, user_id: str | None) -> ProjectInvitation:
    """The invitation that is to be answered: a user's own before its account's."""
    invited = call.account
    if account is not None:
        domain = call.session.get_one(Domain, project.domain_id)
        invited = access.owner(call, account, domain)
    users = [user_id] if user_id is not None else [call.user.id, EVERY_USER]
    query = select(ProjectInvitation).where(
        ProjectInvitation.project_id == project.id,
        ProjectInvitation.account_id == invited.id,
        ProjectInvitation.user_id.in_(users),
    )
    found = call.session.scalar(query.order_by(ProjectInvitation.user_id.desc()).limit(1))
    if found is None:
        raise Invalid(f"The account {invited.name} is not invited to the project {project.name}.")
    return found


class DeleteProjectInvitation(Request):
    id = Ref(ProjectInvitation, "the invitation", required=True)


@command(
    "deleteProjectInvitation", DeleteProjectInvitation, SuccessResponse, is_async=True, roles=EVERYONE,
    event="PROJECT.INVITATION.REMOVE",
)  # fmt: skip
def delete_project_invitation(call: Call, id: ProjectInvitation) -> WorkflowRow:
    """Take an invitation back."""
    call.session.delete(id)
    return call.job_done(id)
