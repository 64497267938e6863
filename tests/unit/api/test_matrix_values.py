"""Identifiers that no `Ref` looks up, and those inside maps: what is not the caller's is not told from the unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from manager import access, db
from manager import models as m
from manager.api.annotated import ENTITIES, ICONED
from manager.api.command import COMMANDS
from manager.api.commands.resource_detail import DETAILED
from manager.api.commands.tag import TAGGED
from manager.api.fields import ListOf, MapList, Text, Uuid
from manager.models import Annotation, Vm, new_id
from tests.unit.api.matrix_world import RELATIONS, Case, World, strangers, theirs

READ, USE, MANAGE = access.READ, access.USE, access.MANAGE
WEEK = {"startdate": "2026-01-01", "enddate": "2026-01-07"}


@dataclass(frozen=True)
class Bare:
    """A parameter of a command that may name a `model`, on which the handler wants `right`.

    `key` is how one identifier is sent where that is not as the parameter's name. `own` gives other parameters that
    name the caller's own things, by their models; `given` all that is needed besides. A handler that does not look
    the identifier up does not repeat it: `repeats` is False.
    """

    command: str
    name: str
    model: type[Any]
    right: str = READ
    given: dict[str, str] = field(default_factory=dict)
    own: dict[str, type[Any]] = field(default_factory=dict)
    key: str = ""
    repeats: bool = False


def _tagged(command: str, name: str, kinds: dict[str, type[Any]], **given: str) -> Iterator[Bare]:
    for kind, model in kinds.items():
        yield Bare(command, name, model, MANAGE, {"resourcetype": kind, **given}, repeats=True)


DOT = "R0lGODlhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs="
"""A picture of one pixel."""
TAG, DETAIL = {"tags[0].key": "k", "tags[0].value": "v"}, {"details[0].k": "v"}
FEW = {kind: TAGGED[kind] for kind in ("UserVm", "Network", "Account", "Project", "Host")}
"""Kinds for a command that looks things up as another does, which is tried with all."""
BARE = (
    *_tagged("createTags", "resourceids", TAGGED, **TAG),
    *_tagged("deleteTags", "resourceids", FEW),
    *_tagged("uploadResourceIcon", "resourceids", ICONED, base64image=DOT),
    *_tagged("deleteResourceIcon", "resourceids", {kind: ICONED[kind] for kind in ("UserVm", "Account")}),
    *(
        Bare("listResourceIcon", "resourceids", model, READ, {"resourcetype": kind}, repeats=True)
        for kind, model in ICONED.items()
    ),
    *_tagged("addResourceDetail", "resourceid", DETAILED, **DETAIL),
    *_tagged("removeResourceDetail", "resourceid", DETAILED),
    *(
        Bare("addAnnotation", "entityid", model, MANAGE, {"entitytype": kind, "annotation": "x"}, repeats=True)
        for kind, model in ENTITIES.items()
    ),
    Bare("removeAnnotation", "id", Annotation, MANAGE, repeats=True),
    Bare("updateAnnotationVisibility", "id", Annotation, MANAGE, {"adminsonly": "true"}, repeats=True),
    Bare("listAnnotations", "id", Annotation),
    Bare("listAnnotations", "entityid", Vm, given={"entitytype": "VM"}),
    Bare("listEvents", "resourceid", Vm),
    Bare("listTags", "resourceid", Vm),
    Bare("listResourceDetails", "resourceid", Vm, given={"resourcetype": "UserVm"}),
    Bare("listUsageRecords", "usageid", Vm, given=WEEK),
    Bare("listTemplates", "ids", m.Template, given={"templatefilter": "self"}),
    Bare("listProjectAccounts", "userid", m.User, own={"projectid": m.Project}),
    Bare("listProjectInvitations", "userid", m.User, own={"projectid": m.Project}),
    Bare("updateProjectInvitation", "userid", m.User, own={"projectid": m.Project}),
    Bare("deleteUserFromProject", "userid", m.User, own={"projectid": m.Project}, repeats=True),
    Bare("updateProject", "userid", m.User, given={"roletype": "Admin"}, own={"id": m.Project}, repeats=True),
    Bare(
        "updateProjectRolePermission", "ruleorder", m.ProjectRolePermission, MANAGE,
        own={"projectid": m.Project, "projectroleid": m.ProjectRole},
    ),
    Bare(
        "deployVirtualMachine", "iptonetworklist", m.Network, USE, key="iptonetworklist[0].networkid", repeats=True,
        own={"zoneid": m.Zone, "serviceofferingid": m.ServiceOffering, "templateid": m.Template},
    ),
    *(
        Bare(name, "vmidipmap", m.Vm, USE, key="vmidipmap[0].vmid", own={"id": m.LoadBalancerRule}, repeats=True)
        for name in ("assignToLoadBalancerRule", "removeFromLoadBalancerRule")
    ),
)  # fmt: skip
MAPS: dict[str, tuple[str, ...]] = {
    "iptonetworklist": ("networkid",), "accountdetails": (), "details": (), "rules": (), "serviceproviderlist": (),
    "servicecapabilitylist": (), "usersecuritygrouplist": (), "vmidipmap": ("vmid",), "param": (),
    "parameters": (), "serviceofferingdetails": (), "tags": (), "tiernetworkofferings": (), "userdatadetails": (),
}  # fmt: skip
"""By name of a parameter: which keys of its maps hold identifiers."""
GIVEN = {("deployVirtualMachine", "customid"), ("createNetwork", "externalid"), ("registerOauthProvider", "clientid"),
         ("updateOauthProvider", "clientid")}  # fmt: skip
"""What a new thing shall be called, and what others call this cloud: they name nothing that there is here."""
TELLING = {("listAnnotations", "entityid"), ("listEvents", "resourceid"), ("listTags", "resourceid"),
           ("listResourceDetails", "resourceid"), ("listUsageRecords", "usageid")}  # fmt: skip
"""Filters by a thing, of rows that each thing here has: its owner finds them."""


class Told(World):
    """Where every virtual machine that is named has a tag, a detail, an event, a note and a record of its use."""

    def rows_of(self, vm_id: str) -> None:
        with db.transaction(self.engine) as session:
            vm = session.get_one(Vm, vm_id)
            if vm.details:
                return
            vm.details = {"secret": "s"}
            owner = vm.account_id
            user = session.scalar(select(m.User.id).filter_by(account_id=owner))
            user = user or session.scalar(select(m.User.id).limit(1))
            time = m.utcnow().replace(month=1, day=2)
            session.add_all([
                m.Tag(resource_id=vm_id, key="secret", value="s", resource_type="UserVm", account_id=owner),
                m.EventRow(type="VM.START", description="s", resource_type="Vm", resource_id=vm_id, account_id=owner),
                m.Annotation(entity_type="VM", entity_id=vm_id, text="s", user_id=user),
                m.UsageRecord(job_id=1, type=1, account_id=owner, resource_id=vm_id, started=time, ended=time, raw=1.0),
            ])  # fmt: skip

    def note_on(self, vm_id: str) -> str:
        self.rows_of(vm_id)
        with db.transaction(self.engine) as session:
            return session.scalars(select(Annotation.id).filter_by(entity_id=vm_id)).one()


def _case(bare: Bare, who: str) -> Case:
    """As of a `Ref`; notes are where the virtual machine is that they are on."""
    model = Vm if bare.model is Annotation else bare.model
    is_list = isinstance(COMMANDS[bare.command].parameters[bare.name], ListOf)
    return Case(COMMANDS[bare.command], bare.name, model, is_list, who, bare.right)


def _things(world: Told, bare: Bare, case: Case) -> list[tuple[str, str]]:
    found = []
    for what, thing in strangers(world, case):
        if case.model is not Vm or what == "wrong type":
            found.append((what, thing))
        elif bare.model is Annotation:
            found.append((what, world.note_on(thing)))
        else:
            world.rows_of(thing)
            found.append((what, thing))
    return found


@dataclass(frozen=True)
class Plan:
    """A parameter and who gives it: `things` are not to be found, `mine` may be used, `others` is given besides."""

    bare: Bare
    case: Case
    things: list[tuple[str, str]]
    mine: list[str]
    others: dict[str, str]

    @classmethod
    def of(cls, world: Told, bare: Bare, who: str) -> Plan:
        case = _case(bare, who)
        mine = theirs(world, case)[:1]
        for vm_id in mine if case.model is Vm else ():
            world.rows_of(vm_id)
        others = bare.given | {name: str(world.thing(model, who)) for name, model in bare.own.items()}
        if "templateid" in others:
            world.factory.change(world.factory.first(m.Template, id=others["templateid"]), state="Ready")
        return cls(bare, case, _things(world, bare, case), mine, others)

    def values(self) -> list[tuple[str, str, str]]:
        """What a stranger's thing is, its identifier, and a value that names it: alone, or beside one's own."""
        found = [(what, thing, thing) for what, thing in self.things]
        if self.case.is_list:
            found += [(f"{what} beside one's own", thing, f"{mine},{thing}")
                      for what, thing in self.things[1:] for mine in self.mine]  # fmt: skip
        return found

    def answer(self, world: Told, value: str) -> tuple[int, str]:
        return world.answer(self.case, self.others | {self.bare.key or self.bare.name: value})


def test_every_identifier_without_a_model_is_tried():
    """A new one needs its line in BARE, and a new parameter of maps in MAPS: the handler looks it up by manager.access,
    or filters by it what the caller may see.
    """
    tried = {(bare.command, bare.name) for bare in BARE}
    for api in COMMANDS.values():
        for name, parameter in api.parameters.items():
            inner = parameter.inner if isinstance(parameter, ListOf) else parameter
            if (api.name, name) in GIVEN:
                continue
            named_so = isinstance(inner, Text) and name.endswith(("id", "ids")) and not api.is_open
            if isinstance(inner, Uuid) or named_so or (isinstance(inner, MapList) and MAPS[name]):
                assert (api.name, name) in tried, f"{api.name} {name}"


def test_no_bare_identifier_tells_whether_there_is_such_a_thing(engine, factory):
    world = Told(engine, factory)
    plans = [Plan.of(world, bare, who) for bare in BARE for who in RELATIONS if world.may(_case(bare, who))]
    problems: list[str] = []
    before = world.digest()
    for plan in plans:
        _compare(world, plan, problems)
    changed = world.changed_since(before)
    assert not problems, "\n".join(problems)
    assert not changed
    assert sum(len(plan.things) for plan in plans) > 600


def _compare(world: Told, plan: Plan, problems: list[str]) -> None:
    unknown, values = new_id(), plan.values()
    answers = {value: plan.answer(world, value) for value in {v.replace(thing, unknown) for _, thing, v in values}}
    about = f"{plan.case} {plan.bare.given}"
    for what, thing, value in values:
        status, said = plan.answer(world, value)
        expected = answers[value.replace(thing, unknown)]
        if (status, said.replace(thing, unknown)) != expected:
            problems.append(f"{about}: {what} gives {status} {said}; unknown gives {expected}")
    if plan.bare.repeats and unknown not in answers[unknown][1]:
        problems.append(f"{about}: the identifier was not looked at: {answers[unknown]}")
    if (plan.bare.command, plan.bare.name) in TELLING and plan.mine[0] not in plan.answer(world, plan.mine[0])[1]:
        problems.append(f"{about}: the caller's own finds nothing")


def test_a_network_in_a_map_may_be_of_no_other_account(engine, factory):
    """One foreign network beside one of the caller's own, in a list of maps."""
    world = Told(engine, factory)
    bare = next(bare for bare in BARE if bare.key)
    for who in ("wanda", "will"):
        plan = Plan.of(world, bare, who)
        both = plan.others | {"iptonetworklist[0].networkid": plan.mine[0]}
        unknown = new_id()
        wanted = world.answer(plan.case, both | {"iptonetworklist[1].networkid": unknown})
        assert unknown in wanted[1]
        for what, thing in plan.things:
            status, said = world.answer(plan.case, both | {"iptonetworklist[1].networkid": thing})
            assert (status, said.replace(thing, unknown)) == wanted, what


def test_a_filter_that_looks_too_far_is_noticed(engine, factory, monkeypatch):
    """The rows that would tell are there, and are found as soon as the handler does not hold to what may be seen."""
    world = Told(engine, factory)
    bare = next(bare for bare in BARE if (bare.command, bare.name) == ("listTags", "resourceid"))
    plan = Plan.of(world, bare, "will")
    monkeypatch.setattr(access, "visible", lambda *_: access.true())
    problems: list[str] = []
    _compare(world, plan, problems)
    assert len(problems) == len(plan.things) - 1  # not what is of the wrong type
