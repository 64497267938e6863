"""A cloud of accounts and projects that stand in every relation to each other, and what its callers are answered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from manager import access, db, roles
from manager.api import authentication, loading
from manager.api.call import Call
from manager.api.command import COMMANDS, ApiCommand
from manager.api.commands import load_all
from manager.api.errors import ApiError
from manager.api.fields import Date, Integer, ListOf, MapList, Ref, Text, Uuid
from manager.api.wire import unpack_maps
from manager.app import create_app
from manager.models import (
    Account,
    ApiKey,
    Base,
    Domain,
    Project,
    ProjectInvitation,
    ProjectMember,
    ProjectRole,
    ProjectRolePermission,
    Role,
    SshKeyPair,
    User,
    Zone,
    new_id,
)
from manager.models.identity import PROJECT
from manager.models.project import ADMIN, REGULAR
from tests.client import Caller, signed
from tests.factories.ownership import OFFERINGS, SHARED, Belongings, is_owned

load_all()

LEFT_BY_CALLS = {"events"}
"""Tables to which a refused call may add a row."""
RELATIONS = {
    "admin": {"own": "admin"},
    "wanda": {"own": "wanda", "other domain": "ed", "parent domain": "rita"},
    "will": {"own": "will", "sibling": "wes", "other domain": "ed", "parent domain": "rita"},
    "rhoda": {"own": "rhoda", "sibling": "will", "other domain": "ed", "parent domain": "rita"},
}
"""By caller (root administrator, domain administrator, user, read-only user): whose things stand for what.

What a domain administrator's siblings own is within its reach.
"""
MEMBER, ADMINISTRATOR = "a project's member", "a project's administrator"
FORMER, BARRED = "a project's former administrator", "a member whose role in the project allows nothing"
BESIDE, OUTSIDE = "of the account of another user who is a project's administrator", "no member of the project"
STRANGERS = (FORMER, BARRED, BESIDE, OUTSIDE)
STANDINGS = (MEMBER, ADMINISTRATOR, *STRANGERS)
"""What the caller is to a project whose things are asked for."""
MAIN_STANDINGS = (MEMBER, ADMINISTRATOR, FORMER, OUTSIDE)
"""What callers other than a user are to projects; with the others they would be answered by the same conditions."""
NOT_THEIRS = {Domain, Role, ProjectInvitation}
"""What the caller has, and yet may not manage."""
NO_PROJECTS = {User, ApiKey, Domain, Role}
"""What projects do not have."""
CHANCES = {"Content-Length"}
"""Headers that differ with the length of an identifier, which the text repeats."""


@dataclass(frozen=True)
class Case:
    """A command with one of its parameters that is an identifier, asked by a caller with `right` on what it names."""

    api: ApiCommand
    name: str
    model: type[Any]
    is_list: bool
    who: str
    right: str = access.USE

    def __str__(self) -> str:
        return f"{self.api.name} {self.name} by {self.who}"


class World:
    """ROOT (admin, rita), ROOT/west (its administrator wanda, users will and wes, rhoda who reads), ROOT/east (ed).

    For each caller but the first there is a project of every standing, in ROOT/west or for wanda in ROOT/east.
    """

    def __init__(self, engine: Engine, factory: Any) -> None:
        self.engine, self.factory = engine, factory
        west, east = factory.domain("west"), factory.domain("east")
        places = {"wanda": west, "will": west, "wes": west, "rhoda": west, "ed": east, "rita": None}
        for name, domain in places.items():
            factory.user(name, factory.account(name, domain, type=2 if name == "wanda" else 0))
        reader = factory.first(Role, name="Read-Only User - Default").id
        factory.change(factory.first(Account, name="rhoda"), role_id=reader)
        self.callers = {name: Caller.of(engine, name) for name in ("admin", *places)}
        self.belongings = Belongings(factory)
        self.client = create_app(engine).test_client()
        self.projects = {
            (who, standing): self._project(who, standing, "ed" if who == "wanda" else "wes")
            for who in RELATIONS if who != "admin" for standing in STANDINGS
        }  # fmt: skip
        with db.transaction(engine) as session:
            self.roles = roles.read_roles(session)

    def _project(self, who: str, standing: str, owner: str) -> Account:
        """The account of a new project where the caller has that standing."""
        home, account = self.callers[owner].account, self.callers[who].account
        made = self.factory.account(f"PrjAcct-{new_id()}", self.factory.first(Domain, id=home.domain_id), type=PROJECT)
        project = self.factory(Project, owner_id=home.id, domain_id=home.domain_id, account_id=made.id)
        self.factory(ProjectMember, project_id=project.id, account_id=home.id, role=ADMIN)
        part: dict[str, Any] = {"project_id": project.id, "account_id": account.id}
        part["role"] = ADMIN if standing in (ADMINISTRATOR, FORMER, BESIDE) else REGULAR
        if standing == BARRED:
            part["project_role_id"] = self.factory(ProjectRole, project_id=project.id).id
        if standing == BESIDE:
            part["user_id"] = self.factory.user(f"other-{new_id()}", account).id
        if standing != OUTSIDE:
            self.factory(ProjectMember, **part)
        self.belongings.projects[made.id] = project
        if standing == FORMER:
            self.send("admin", "deleteAccountFromProject", {"projectid": project.id, "account": account.name})
        return made

    def thing(self, model: type[Any], who: str, *, removed: bool = False) -> str | None:
        return self.belongings.of(model, self.callers[who].account, removed=removed)

    def of_project(self, model: type[Any], who: str, standing: str, *, removed: bool = False) -> str | None:
        """The id of a row that belongs to the project where the caller has that standing."""
        return self.belongings.of(model, self.projects[who, standing], removed=removed)

    def send(self, who: str, command: str, given: dict[str, str]) -> tuple[int, str]:
        """The status, and the headers and the body as text."""
        parameters = signed(self.callers[who], {"command": command, "response": "json", **given})
        reply = self.client.post("/client/api", data=parameters)
        headers = sorted(line for line in reply.headers if line[0] not in CHANCES)
        return reply.status_code, f"{headers} {reply.text}"

    def answer(self, case: Case, given: dict[str, str]) -> tuple[int, str]:
        return self.send(case.who, case.api.name, given)

    def loads(self, case: Case, given: dict[str, str]) -> str:
        """What the loading of the parameters says against it; nothing when a handler would get its entities."""
        caller = self.callers[case.who]
        with db.Session(self.engine, expire_on_commit=False) as session:
            row = session.execute(authentication._BY_KEY, {"key": caller.key}).one()
            call = Call(session, row[1], row[2], row[3], row[4], case.api)
            try:
                loading.load(call, unpack_maps({name.lower(): value for name, value in given.items()}))
            except ApiError as error:
                return error.text
            return ""

    def may(self, case: Case) -> bool:
        """Whether the caller's role allows the command."""
        role = self.roles[self.callers[case.who].account.role_id]
        if case.api.is_open or not role.permits(case.api.name, case.api.roles):
            return False
        return case.who == "admin" or not set(case.api.roles) <= {"Admin"}

    def others(self, case: Case) -> dict[str, str]:
        """Values of what else the command demands."""
        given: dict[str, str] = {}
        for name, field in case.api.parameters.items():
            if field.required and name != case.name:
                given |= self.plausible(name, field, case.who)
        return given

    def plausible(self, name: str, field: Any, who: str) -> dict[str, str]:
        if isinstance(field, MapList):
            return {f"{name}[0].key": "k", f"{name}[0].value": "v"}
        inner = field.inner if isinstance(field, ListOf) else field
        if isinstance(inner, Ref):
            return {name: str(self.thing(inner.model, who))}
        if isinstance(inner, Uuid):
            return {name: new_id()}
        if isinstance(inner, Date):
            return {name: "2026-01-01"}
        if isinstance(inner, Integer):
            return {name: str(max(inner.least, 1))}
        return {name: inner.allowed[0] if inner.allowed else "x"}

    def digest(self) -> dict[str, tuple[int, str]]:
        """By table: how many rows it has, and a hash of them."""
        found = {}
        with self.engine.connect() as connection:
            for table in Base.metadata.tables.keys() - LEFT_BY_CALLS:
                rows = connection.execute(text(f'SELECT * FROM "{table}" ORDER BY 1, 2')).all()  # noqa: S608 - ours
                found[table] = (len(rows), hashlib.sha256(repr(rows).encode()).hexdigest())
        return found

    def changed_since(self, before: dict[str, tuple[int, str]]) -> list[str]:
        """The tables whose digest is another than `before`."""
        after = self.digest()
        return sorted(table for table in before if before[table] != after[table])


def opens(case: Case, standing: str) -> bool:
    """Whether the things of a project are the caller's as well, by its standing there and its right."""
    if standing not in (MEMBER, ADMINISTRATOR) or case.model is Account:
        return False
    if case.model is ProjectInvitation or (
        case.model in (Project, ProjectRole, ProjectRolePermission) and case.right == access.MANAGE
    ):
        return standing == ADMINISTRATOR
    return True


def cases(world: World, api: ApiCommand) -> Iterator[Case]:
    """Every parameter of the command that is looked up as an identifier, by every caller that may give the command."""
    for who in RELATIONS:
        for name, field in api.parameters.items():
            inner = field.inner if isinstance(field, ListOf) else field
            if isinstance(inner, Ref):
                kind = access.READ if api.reads else access.MANAGE if name in ("id", "ids") else access.USE
                case = Case(api, name, inner.model, isinstance(field, ListOf), who, inner.right or kind)
                if world.may(case):
                    yield case


def strangers(world: World, case: Case) -> Iterator[tuple[str, str]]:
    """What the caller must not find, each with what it is: nothing here may be told from an unknown identifier."""
    wrong = Zone if case.model is not Zone else SshKeyPair
    yield "wrong type", str(world.thing(wrong, case.who))
    if case.who == "admin" or case.model in SHARED:
        return
    own = world.thing(case.model, case.who)
    if not is_owned(case.model):
        yield "the cloud's own", str(own)
        return
    for relation, owner in RELATIONS[case.who].items():
        if relation != "own" and _is_foreign(case, relation):
            thing = world.thing(case.model, owner)
            if thing != own:
                yield relation, str(thing)
            removed = world.thing(case.model, owner, removed=True) if relation == _nearest(case) else None
            if removed is not None and case.model is not Domain:
                yield f"removed, {relation}", removed
    if _in_projects(case):
        yield from _of_projects(world, case)


def _nearest(case: Case) -> str:
    """Whose removed things are asked for: those of the others are kept from the caller by the same condition."""
    return next(relation for relation in RELATIONS[case.who] if relation != "own" and _is_foreign(case, relation))


def _of_projects(world: World, case: Case) -> Iterator[tuple[str, str]]:
    for standing in STANDINGS if case.who == "will" else MAIN_STANDINGS:
        if not opens(case, standing):
            yield standing, str(world.of_project(case.model, case.who, standing))
    removed = world.of_project(case.model, case.who, OUTSIDE, removed=True) if case.model is not Account else None
    if removed is not None:
        yield f"removed, {OUTSIDE}", removed


def theirs(world: World, case: Case) -> list[str]:
    """What the caller has the right on: what is its own, and what it has by its part in projects."""
    found = []
    if (case.who == "admin" or is_owned(case.model) or case.model in SHARED) and case.model not in NOT_THEIRS:
        found.append(str(world.thing(case.model, case.who)))
    if case.who != "admin" and _in_projects(case):
        open_to = [standing for standing in (MEMBER, ADMINISTRATOR) if opens(case, standing)]
        found += [str(world.of_project(case.model, case.who, standing)) for standing in open_to]
    return found


def _in_projects(case: Case) -> bool:
    return is_owned(case.model) and case.model not in NO_PROJECTS | OFFERINGS


def _is_foreign(case: Case, relation: str) -> bool:
    """Roles that are not for everyone are the cloud's; what is offered to ROOT is offered below it."""
    if case.model is Role:
        return relation == "parent domain" and case.who != "wanda"
    if case.model in OFFERINGS:
        return relation == "other domain"
    return True


def accounts_named() -> list[ApiCommand]:
    """The commands for users that take an account by its name and domain."""
    return [
        api for api in COMMANDS.values()
        if {"account", "domainid"} <= api.parameters.keys() and isinstance(api.parameters["account"], Text)
        and "User" in api.roles and not api.is_open
    ]  # fmt: skip
