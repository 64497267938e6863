"""Every command with every identifier that it takes, given what is not the caller's: refused, and nothing is told.

Commands and models that are added later are covered by themselves: parameters come from the declarations, rows from
tests/factories.
"""

from __future__ import annotations

import pytest

from manager import access
from manager.api.command import COMMANDS, ApiCommand
from manager.models import Account, Region, new_id
from tests.factories.ownership import NoFactory, is_owned
from tests.unit.api.matrix_world import Case, World, accounts_named, cases, strangers, theirs

NOT_FOR_ROLE = "is not for the role"
TOGETHER = 12
"""Commands between two looks at the database."""

Plan = tuple[Case, dict[str, str], list[tuple[str, str]], list[str], str | None]
"""A case, what else the command demands, what is not to be found, what is the caller's, what was removed of that."""


def test_no_identifier_opens_what_is_not_the_callers(engine, factory):
    world = World(engine, factory)
    problems: list[str] = []
    tried = 0
    plans = [(api.name, _plans(world, api)) for api in list(COMMANDS.values())]
    before = world.digest()
    for start in range(0, len(plans), TOGETHER):
        group = plans[start : start + TOGETHER]
        for plan in (plan for _, found in group for plan in found):
            tried += _compare(world, plan, problems)
            _look_for_own(world, plan, problems)
        changed = world.changed_since(before)
        if changed:
            problems.append(f"{[name for name, _ in group]} were refused and yet changed {changed}")
            before = world.digest()
    assert not problems, "\n".join(problems)
    assert tried > 3000


def _plans(world: World, api: ApiCommand) -> list[Plan]:
    """What is to be asked; all rows that it needs are made here, before anything is compared."""
    try:
        return [
            (case, world.others(case), list(strangers(world, case)), theirs(world, case),
             world.thing(case.model, case.who, removed=True))
            for case in cases(world, api)
        ]  # fmt: skip
    except NoFactory as missing:
        pytest.fail(f"{api.name}: tests/factories makes no {missing}; add its defaults")


def _compare(world: World, plan: Plan, problems: list[str]) -> int:
    """The answer to each stranger is that to an unknown identifier, which is a refusal that names the parameter."""
    case, others, things, own, _ = plan
    unknown = "999" if case.model is Region else new_id()
    status, said = world.answer(case, {**others, case.name: unknown})
    expected = f"Invalid parameter {case.name} value={unknown} due to"
    if not (expected in said or (status == 531 and NOT_FOR_ROLE in said)):
        problems.append(f"{case}: an unknown identifier gives {status} {said}")
    for what, thing in things:
        values = [thing]
        if case.is_list and own:
            values.append(f"{own[0]},{thing}")
        for value in values:
            answer = world.answer(case, {**others, case.name: value})
            if (answer[0], answer[1].replace(thing, unknown)) != (status, said):
                problems.append(f"{case}: {what} gives {answer[0]} {answer[1]}; unknown gives {status} {said}")
    return len(things) + 1


def _look_for_own(world: World, plan: Plan, problems: list[str]) -> None:
    """The caller's own things load; what was removed of them is an empty list, or unknown."""
    case, others, _, own, removed = plan
    for thing in own:
        said = world.loads(case, {**others, case.name: thing})
        if f"Invalid parameter {case.name} " in said:
            problems.append(f"{case}: the caller's own gives {said}")
    if removed is None or (case.who != "admin" and not is_owned(case.model)):
        return
    status, said = world.answer(case, {**others, case.name: removed})
    empty = status == 200 and said.endswith('response":{}}') and case.api.shape == "list" and case.api.reads
    refused = status == 431 and f"Invalid parameter {case.name} value={removed}" in said
    if not (empty or refused or (status == 531 and NOT_FOR_ROLE in said)):
        problems.append(f"{case}: a removed one gives {status} {said}")


def test_no_name_tells_which_accounts_there_are(engine, factory):
    """Commands that take an account by name answer alike for a sibling's and for one that nobody has."""
    world = World(engine, factory)
    west = world.callers["will"].account.domain_id
    problems = []
    found = [Case(api, "account", Account, is_list=False, who="will") for api in accounts_named()]
    plans = [(case, world.others(case) | {"domainid": west}) for case in found]
    before = world.digest()
    for case, others in plans:
        answers = [world.answer(case, {**others, "account": name}) for name in ("wes", "nil")]
        (status, said), unknown = answers
        if status == 200 or (status, said.replace("wes", "nil")) != unknown:
            problems.append(f"{case}: {answers}")
    assert not problems, "\n".join(problems)
    assert not world.changed_since(before)


def test_the_matrix_notices_what_it_should(engine, factory, monkeypatch):
    """A reach that is too wide, and a refusal that says too much, are found."""
    world = World(engine, factory)
    api = COMMANDS["deleteUser"]
    (case,) = (case for case in cases(world, api) if case.who == "wanda")
    problems: list[str] = []
    monkeypatch.setattr(access, "_not_mightier", lambda *_: access.true())
    monkeypatch.setattr(access, "_place_reach", lambda *_: access.true())
    stranger = ("other domain", str(world.thing(case.model, "ed")))
    _compare(world, (case, {}, [stranger], [], None), problems)
    assert len(problems) == 1
    assert "other domain gives 200" in problems[0]
