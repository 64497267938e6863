"""Every command with every identifier that it takes, given what is not the caller's: refused, and nothing is told.

Commands and models that are added later are covered by themselves: parameters come from the declarations, rows from
tests/factories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text

from manager import access, db, roles
from manager.api import authentication, dispatch, loading
from manager.api.call import Call
from manager.api.command import COMMANDS, ApiCommand
from manager.api.commands import load_all
from manager.api.errors import ApiError
from manager.api.fields import Date, Integer, ListOf, MapList, Ref, Text, Uuid
from manager.api.wire import Incoming, unpack_maps
from manager.models import Account, Base, Domain, ProjectInvitation, Region, Role, SshKeyPair, Zone, new_id
from tests.client import Caller, signed
from tests.factories.ownership import SHARED, Belongings, NoFactory, is_owned

load_all()

LEFT_BY_CALLS = {"events"}
"""Tables to which a refused call may add a row."""
NOT_THEIRS = {Domain, Role, ProjectInvitation}
"""What the caller has, and yet may not manage."""
RELATIONS = {
    "admin": {"own": "admin"},
    "wanda": {"own": "wanda", "other domain": "ed", "parent domain": "rita"},
    "will": {"own": "will", "sibling": "wes", "other domain": "ed", "parent domain": "rita"},
    "rhoda": {"own": "rhoda", "sibling": "will", "other domain": "ed", "parent domain": "rita"},
}
"""By caller (root administrator, domain administrator, user, read-only user): whose things stand for what.

What a domain administrator's siblings own is within its reach.
"""


@dataclass(frozen=True)
class Case:
    """A command with one of its parameters that is an identifier, asked by a caller."""

    api: ApiCommand
    name: str
    model: type[Any]
    is_list: bool
    who: str

    def __str__(self) -> str:
        return f"{self.api.name} {self.name} by {self.who}"


class World:
    """ROOT (admin, rita), ROOT/west (its administrator wanda, users will and wes, rhoda who reads), ROOT/east (ed)."""

    def __init__(self, engine: Engine, factory: Any) -> None:
        self.engine = engine
        west, east = factory.domain("west"), factory.domain("east")
        places = {"wanda": west, "will": west, "wes": west, "rhoda": west, "ed": east, "rita": None}
        for name, domain in places.items():
            factory.user(name, factory.account(name, domain, type=2 if name == "wanda" else 0))
        reader = factory.first(Role, name="Read-Only User - Default").id
        factory.change(factory.first(Account, name="rhoda"), role_id=reader)
        self.callers = {name: Caller.of(engine, name) for name in ("admin", *places)}
        self.belongings = Belongings(factory)
        with db.transaction(engine) as session:
            self.roles = roles.read_roles(session)

    def thing(self, model: type[Any], who: str, *, removed: bool = False) -> str | None:
        return self.belongings.of(model, self.callers[who].account, removed=removed)

    def answer(self, case: Case, given: dict[str, str]) -> tuple[int, str]:
        """The status, and the text of the refusal or the whole answer."""
        raw = signed(self.callers[case.who], {"command": case.api.name, "response": "json", **given})
        names = {name.lower(): value for name, value in raw.items()}
        reply = dispatch.answer(Incoming("POST", raw, names), self.engine)
        return reply.status, reply.error_text or str(reply.body[next(iter(reply.body))])

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


def _names_accounts(api: ApiCommand) -> bool:
    return {"account", "domainid"} <= api.parameters.keys() and isinstance(api.parameters["account"], Text)


def cases(world: World, api: ApiCommand) -> Iterator[Case]:
    for who in RELATIONS:
        role = world.roles[world.callers[who].account.role_id]
        if api.is_open or not role.permits(api.name, api.roles) or (who != "admin" and set(api.roles) <= {"Admin"}):
            continue
        for name, field in api.parameters.items():
            inner = field.inner if isinstance(field, ListOf) else field
            if isinstance(inner, Ref):
                yield Case(api, name, inner.model, isinstance(field, ListOf), who)


def strangers(world: World, case: Case) -> Iterator[tuple[str, str]]:
    """What the caller must not find, each with what it is: nothing here may be told from an unknown identifier."""
    wrong = Zone if case.model is not Zone else SshKeyPair
    yield "wrong type", str(world.thing(wrong, case.who))
    relations = RELATIONS[case.who]
    own = world.thing(case.model, case.who)
    if case.who != "admin" and case.model not in SHARED:
        for relation, owner in relations.items():
            if relation != "own" and is_owned(case.model) and _is_foreign(case, relation):
                thing = world.thing(case.model, owner)
                if thing != own:
                    yield relation, str(thing)
                removed = world.thing(case.model, owner, removed=True)
                if removed is not None and case.model is not Domain:
                    yield f"removed, {relation}", removed
        if not is_owned(case.model):
            yield "the cloud's own", str(own)


def _is_foreign(case: Case, relation: str) -> bool:
    """Roles that are not for everyone are the cloud's; what is offered to ROOT is offered below it."""
    if case.model is Role:
        return relation == "parent domain" and case.who != "wanda"
    if case.model.__name__.endswith("Offering"):
        return relation == "other domain"
    return True


def test_no_identifier_opens_what_is_not_the_callers(engine, factory):
    world = World(engine, factory)
    problems: list[str] = []
    tried = 0
    plans = [(api, _plans(world, api)) for api in list(COMMANDS.values())]
    before = world.digest()
    for api, found in plans:
        for case, others, things, removed in found:
            tried += _compare(world, case, others, things, problems)
            _look_for_removed(world, case, others, removed, problems)
        after = world.digest()
        if after != before:
            changed = [table for table in before if before[table] != after[table]]
            problems.append(f"{api.name} was refused and yet changed {changed}")
            before = after
    assert not problems, "\n".join(problems)
    assert tried > 500


def _plans(world: World, api: ApiCommand) -> list[tuple[Case, dict[str, str], Any, str | None]]:
    """What is to be asked; all rows that it needs are made here, before anything is compared."""
    try:
        return [
            (case, world.others(case), list(strangers(world, case)), world.thing(case.model, case.who, removed=True))
            for case in cases(world, api)
        ]
    except NoFactory as missing:
        pytest.fail(f"{api.name}: tests/factories makes no {missing}; add its defaults")


def _compare(world: World, case: Case, others: dict[str, str], things: Any, problems: list[str]) -> int:
    """The answer to each thing is that to an unknown identifier, which is a refusal that names the parameter."""
    unknown = "999" if case.model is Region else new_id()
    status, said = world.answer(case, {**others, case.name: unknown})
    sentence = f"Invalid parameter {case.name} value={unknown} due to"
    if not (sentence in said or (status == 531 and "is not for the role" in said)):
        problems.append(f"{case}: an unknown identifier gives {status} {said}")
    for what, thing in things:
        values = [thing]
        if case.is_list and is_owned(case.model):
            values.append(f"{world.thing(case.model, case.who)},{thing}")
        for value in values:
            answer = world.answer(case, {**others, case.name: value})
            if (answer[0], answer[1].replace(thing, unknown)) != (status, said):
                problems.append(f"{case}: {what} gives {answer[0]} {answer[1]}; unknown gives {status} {said}")
    return len(things) + 1


def _look_for_removed(world: World, case: Case, others: dict[str, str], thing: str | None, problems: list[str]) -> None:
    """The caller's own things load; what was removed of them is an empty list, or unknown."""
    own = str(world.thing(case.model, case.who))
    said = world.loads(case, {**others, case.name: own})
    reachable = case.who == "admin" or is_owned(case.model) or case.model in SHARED
    if reachable and case.model not in NOT_THEIRS and f"Invalid parameter {case.name} " in said:
        problems.append(f"{case}: the caller's own gives {said}")
    if thing is None or (case.who != "admin" and not is_owned(case.model)):
        return
    status, said = world.answer(case, {**others, case.name: thing})
    empty = status == 200 and said == "{}" and case.api.shape == "list" and case.api.reads
    refused = status == 431 and f"Invalid parameter {case.name} value={thing}" in said
    if not (empty or refused or (status == 531 and "is not for the role" in said)):
        problems.append(f"{case}: a removed one gives {status} {said}")


def test_no_name_tells_which_accounts_there_are(engine, factory):
    """Commands that take an account by name answer alike for a sibling's and for one that nobody has."""
    world = World(engine, factory)
    west = world.callers["will"].account.domain_id
    problems = []
    wanted = [api for api in COMMANDS.values() if _names_accounts(api) and "User" in api.roles and not api.is_open]
    found = [Case(api, "account", Account, is_list=False, who="will") for api in wanted]
    plans = [(case, world.others(case) | {"domainid": west}) for case in found]
    before = world.digest()
    for case, others in plans:
        answers = [world.answer(case, {**others, "account": name}) for name in ("wes", "nil")]
        (status, said), unknown = answers
        if status == 200 or (status, said.replace("wes", "nil")) != unknown:
            problems.append(f"{case}: {answers}")
    assert not problems, "\n".join(problems)
    assert world.digest() == before


def test_the_matrix_notices_what_it_should(engine, factory, monkeypatch):
    """A reach that is too wide, and a refusal that says too much, are found."""
    world = World(engine, factory)
    api = COMMANDS["deleteUser"]
    (case,) = (case for case in cases(world, api) if case.who == "wanda")
    problems: list[str] = []
    monkeypatch.setattr(access, "_not_mightier", lambda *_: access.true())
    monkeypatch.setattr(access, "_place_reach", lambda *_: access.true())
    _compare(world, case, {}, [("other domain", world.thing(case.model, "ed"))], problems)
    assert len(problems) == 1
    assert "other domain gives 200" in problems[0]
