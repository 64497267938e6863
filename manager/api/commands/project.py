"""Projects: things that several accounts own together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, DomainListRequest, Given, IconListRequest, Page, Request, command
from manager.api.commands.account import machines_of
from manager.api.commands.place import with_keyword
from manager.api.commands.tag import TagResponse
from manager.api.errors import Denied, Invalid
from manager.api.fields import Choice, Flag, MapOf, Ref, Text, Uuid
from manager.api.resource_fields import account_limits, limit_fields
from manager.api.response import Int, Many, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id, tags_of
from manager.db import write
from manager.membership import member_of
from manager.models import (
    Account,
    Domain,
    Project,
    ProjectMember,
    ResourceUse,
    Role,
    Tag,
    User,
    WorkflowRow,
)
from manager.models.identity import PROJECT
from manager.models.project import ADMIN, EVERY_USER, REGULAR
from manager.models.states import PROJECT_MOVES
from manager.placement import limits
from manager.workflows.clearing import held_by
from manager.workflows.numbers import next_number
from manager.workflows.project import delete_project as removal
from manager.workflows.project import suspend_project as suspension

LONGEST_NAME = 200
STATES = ("Active", "Disabled", "Suspended")


class ProjectResponse(Response):
    object_key = "project"
    shows = Project
    has_jobs = True
    fields = limit_fields(projects=False)
    id = Str("the project's id")
    name = Str("its name")
    displaytext = Str("what it is for")
    domainid = Str("the id of its domain")
    domain = Str("its domain")
    owner = Many("who administers it: account, and userid and user where it is one user")
    projectaccountname = Str("the account that stands for it")
    state = Str("Active, Suspended or Disabled")
    tags = Many("its tags", TagResponse)
    vmstopped = Int("how many of its virtual machines are stopped")
    vmrunning = Int("how many of its virtual machines run")
    created = When("when it was made")
    jobid = Str("the job that is at work on it")
    jobstatus = Int("0 while that job runs")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Project]) -> list[Shown]:
        accounts = by_id(call, Account, (row.account_id for row in rows))
        domains = by_id(call, Domain, (row.domain_id for row in rows))
        held = account_limits(call, list(accounts.values()), projects=False)
        machines = machines_of(call, list(accounts))
        owners = _owners(call, rows)
        tags = tags_of(call, rows)
        return [
            {
                "id": row.id,
                "name": row.name,
                "displaytext": row.display_text,
                "domainid": row.domain_id,
                "domain": domains[row.domain_id].name,
                "owner": owners.get(row.id, []),
                "projectaccountname": accounts[row.account_id].name,
                "state": row.state,
                "tags": tags[row.id],
                "vmrunning": machines.get((row.account_id, "Running"), 0),
                "vmstopped": machines.get((row.account_id, "Stopped"), 0),
                "created": row.created,
                **held[row.account_id],
            }
            for row in rows
        ]


def _owners(call: Call, rows: Sequence[Project]) -> dict[str, list[dict[str, Any]]]:
    query = (
        select(ProjectMember.project_id, Account.id, Account.name, ProjectMember.user_id, User.username)
        .join(Account, Account.id == ProjectMember.account_id)
        .outerjoin(User, User.id == ProjectMember.user_id)
        .where(ProjectMember.project_id.in_([row.id for row in rows]), ProjectMember.role == ADMIN)
        .order_by(ProjectMember.created, ProjectMember.id)
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for project_id, account_id, name, user_id, username in call.session.execute(query):
        owner = {"accountid": account_id, "account": name, "userid": user_id or None, "user": username}
        found.setdefault(project_id, []).append(owner)
    return found


class CreateProject(Request):
    name = Text("its name, new in the domain", required=True, max_length=LONGEST_NAME)
    displaytext = Text("what it is for; the name when absent")
    account = Text("the account that shall administer it; needs domainid")
    domainid = Ref(Domain, "the domain of that account", right=access.USE)
    accountid = Ref(Account, "the account that shall administer it, in place of account", right=access.USE)
    userid = Ref(User, "the user that shall administer it", right=access.USE)


@command(
    "createProject", CreateProject, ProjectResponse, is_async=True, creates=True, roles=EVERYONE, event="PROJECT.CREATE"
)
def create_project(call: Call, given: Given) -> WorkflowRow:
    """Make a project."""
    if call.role.type == "User" and not configuration.value(call.session, "allow.user.create.projects"):
        raise Denied("Users may not make projects: the setting allow.user.create.projects is false.")
    owner = _first_owner(call, given)
    number = next_number(call.session, "account")  # before the claim: it may take a connection of its own
    limits.claim(call.session, owner, projects=1)
    account = _project_account(call, owner, f"PrjAcct-{given.name}-{number}", number)
    project = Project(
        name=given.name,
        display_text=given.displaytext or given.name,
        domain_id=owner.domain_id,
        account_id=account.id,
        owner_id=owner.id,
        live=f"{owner.domain_id}/{given.name.lower()}",
    )
    call.add(project, taken=f"The domain of the account {owner.name} has a project {given.name} already.")
    user_id = given.userid.id if given.userid else EVERY_USER
    call.session.add(ProjectMember(project_id=project.id, account_id=owner.id, user_id=user_id, role=ADMIN))
    call.subject = project
    return call.job_done(project)


def _first_owner(call: Call, given: Given) -> Account:
    named = [account for account in (given.accountid, _account_of(call, given.userid)) if account is not None]
    if given.account is not None:
        named.append(access.owner(call, given.account, given.domainid))
    if len({account.id for account in named}) > 1:
        raise Invalid("The parameters account, accountid and userid name different accounts.")
    owner = named[0] if named else call.account
    if owner.type == PROJECT:
        raise Invalid(f"The account {owner.name} is that of a project, which cannot administer another.")
    return owner


def _account_of(call: Call, user: User | None) -> Account | None:
    return None if user is None else call.session.get_one(Account, user.account_id)


def _project_account(call: Call, owner: Account, name: str, number: int) -> Account:
    role = call.session.scalars(select(Role).where(Role.name == "User", Role.is_default, Role.removed.is_(None))).one()
    account = Account(
        number=number,
        name=name,
        domain_id=owner.domain_id,
        type=PROJECT,
        role_id=role.id,
        live=f"{owner.domain_id}/{name.lower()}",
    )
    call.add(account, taken=f"The domain has an account {name} already.")
    call.session.add(ResourceUse(account_id=account.id))
    return account


class ListProjects(IconListRequest, DomainListRequest):
    id = Ref(Project, "only this project")
    name = Text("only projects of this name")
    displaytext = Text("only projects with this text")
    state = Choice("only projects in this state", STATES)
    account = Text("only projects where this account takes part; needs domainid")
    username = Text("only projects where this user takes part by itself")
    tags = MapOf("only projects with all these tags")


@command("listProjects", ListProjects, ProjectResponse, roles=EVERYONE)
def list_projects(call: Call, given: Given) -> Page:
    """List projects: the caller's own, and with listall those that an administrator may see."""
    query = select(Project).where(Project.removed.is_(None), access.reach(call, Project, access.READ))
    everything = call.scope.listall or given.id is not None
    if call.scope.domain is not None:
        query = query.where(access.in_domain(Project.domain_id, call.scope.domain, recursive=call.scope.recursive))
    elif not everything:
        query = query.where(Project.id.in_(member_of(call)))
    for column, value in ((Project.name, given.name), (Project.display_text, given.displaytext),
                          (Project.state, given.state), (Project.id, given.id)):  # fmt: skip
        if value is not None:
            query = query.where(column == getattr(value, "id", value))
    if given.account is not None:
        account = access.owner(call, given.account, call.scope.domain)
        query = query.where(Project.id.in_(select(ProjectMember.project_id).filter_by(account_id=account.id)))
    if given.username is not None:
        members = select(ProjectMember.project_id).join(User, User.id == ProjectMember.user_id)
        query = query.where(Project.id.in_(members.where(User.username == given.username)))
    for key, value in (given.tags or {}).items():
        query = query.where(Project.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    query = with_keyword(query, given.keyword, Project.name)
    return call.paged(query.order_by(Project.name, Project.id))


class UpdateProject(Request):
    id = Ref(Project, "the project", required=True)
    name = Text("its new name", max_length=LONGEST_NAME)
    displaytext = Text("what it is for")
    account = Text("the member whose part changes: its new owner, or with swapowner=false one of another role")
    userid = Uuid("the user, a member by itself, whose part changes")
    roletype = Choice("the new role of that member", (ADMIN, REGULAR))
    swapowner = Flag("make the account the owner in place of the present one", default=True)


@command("updateProject", UpdateProject, ProjectResponse, is_async=True, roles=EVERYONE, event="PROJECT.UPDATE")
def update_project(call: Call, given: Given) -> WorkflowRow:
    """Change a project: its name, its text, who owns it, who administers it."""
    project: Project = given.id
    if given.account is not None and given.userid is not None:
        raise Invalid("The parameters account and userid exclude each other.")
    if given.name:
        project.name, project.live = given.name, f"{project.domain_id}/{given.name.lower()}"
        call.flush(taken=f"The domain has a project {given.name} already.")
    if given.displaytext:
        project.display_text = given.displaytext
    if given.account is not None or given.userid is not None:
        member = _member(call, project, given)
        if given.account is not None and given.swapowner and given.roletype is None:
            _swap_owner(call, project, member)
        else:
            _change_role(project, member, given.roletype)
    return call.job_done(project)


def _member(call: Call, project: Project, given: Given) -> ProjectMember:
    query = select(ProjectMember).filter_by(project_id=project.id)
    if given.userid is not None:
        query = query.filter_by(user_id=given.userid)
    else:
        query = query.join(Account, Account.id == ProjectMember.account_id)
        query = query.where(Account.name == given.account, ProjectMember.user_id == EVERY_USER)
    member = call.session.scalar(query)
    if member is None:
        who = f"account {given.account}" if given.account else f"user {given.userid}"
        raise Invalid(f"The {who} takes no part in the project {project.name}; add it first.")
    return member


def _swap_owner(call: Call, project: Project, member: ProjectMember) -> None:
    """Make the member the owner; the project moves from the old owner's count to the new one's."""
    old, new = project.owner_id, member.account_id
    if old == new:
        member.role = ADMIN
        return
    limits.claim(call.session, call.session.get_one(Account, new), projects=1)
    moved = write(call.session, update(Project).where(Project.id == project.id, Project.owner_id == old)
                  .values(owner_id=new))  # fmt: skip
    if not moved:
        raise Invalid(f"The owner of the project {project.name} is being changed by another call; try again.")
    limits.release(call.session, old, projects=1)
    write(
        call.session,
        update(ProjectMember)
        .where(ProjectMember.project_id == project.id, ProjectMember.account_id == old)
        .values(role=REGULAR),
    )
    member.role, member.project_role_id = ADMIN, None
    call.session.flush()
    call.session.refresh(project)


def _change_role(project: Project, member: ProjectMember, role: str | None) -> None:
    if role is None:
        raise Invalid("With userid, or swapowner=false, the parameter roletype is needed: Admin or Regular.")
    if member.account_id == project.owner_id and role != ADMIN:
        raise Invalid(f"The account {member.account_id} owns the project {project.name}; swap the owner first.")
    member.role = role
    if role == ADMIN:
        member.project_role_id = None


class OneProject(Request):
    id = Ref(Project, "the project", required=True)


class DeleteProject(OneProject):
    cleanup = Flag("remove all that is in it; else it must be empty", default=False)


@command("deleteProject", DeleteProject, SuccessResponse, is_async=True, roles=EVERYONE, event="PROJECT.DELETE")
def delete_project(call: Call, id: Project, cleanup: bool) -> WorkflowRow:
    """Remove a project, with cleanup and all that is in it."""
    held = held_by(call.session, id.account_id)
    if held and not cleanup:
        what = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in held.items())
        raise Invalid(f"The project {id.name} still has {what}; remove them first, or give cleanup=true.")
    return removal.start(call.session, id, call=call)


@command("suspendProject", OneProject, ProjectResponse, is_async=True, roles=EVERYONE, event="PROJECT.SUSPEND")
def suspend_project(call: Call, id: Project) -> WorkflowRow:
    """Stop a project's virtual machines, and let nothing new be made in it."""
    PROJECT_MOVES.demand(id, "suspend")
    return suspension.start(call.session, id, call=call)


@command("activateProject", OneProject, ProjectResponse, is_async=True, roles=EVERYONE, event="PROJECT.ACTIVATE")
def activate_project(call: Call, id: Project) -> WorkflowRow:
    """Let things be made in a suspended project again."""
    PROJECT_MOVES.move(id, "activate")
    return call.job_done(id)
