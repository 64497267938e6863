"""Every command that is here and in CloudStack 4.22 has its names, types, required flags, wrapper and keys."""

from __future__ import annotations

import json

import pytest

from manager.api.command import COMMANDS
from manager.api.commands import load_all
from manager.api.fields import ListOf, Uuid
from tests.unit.api.facts import FILE

load_all()
FACTS = json.loads(FILE.read_text())

OWN_COMMANDS = {"listJobSteps", "explainPlacement", "getConsoleOutput", "listDrift", "listOrphans"}
OWN_PARAMETERS = {
    "*": {"clienttoken"},
    "addHost": {"details"},
    "createStoragePool": {"hostid"},
}
LOOSER = {("login", "domainId")}
"""Parameters that CloudStack declares narrower than it takes them: a number or a uuid."""
OTHER_TYPES = {("ipforwardingrule", "ipaddressid")}
"""Fields that CloudStack declares as numbers and fills with uuids."""
OWN_FIELDS = {"virtualmachine": {"reason"}}
"""Fields of our own, by the key of the answer."""
JSON_TYPES = {
    "string": "string", "integer": "integer", "long": "integer", "float": "number", "double": "number",
    "boolean": "boolean", "date": "date", "list": "array", "set": "array", "map": "object",
}  # fmt: skip
ALIKE = {"long": "integer", "short": "integer", "float": "double", "object": "map"}
KNOWN = sorted(name for name in COMMANDS if name in FACTS["commands"])


def facts(name):
    return FACTS["commands"][name]


def test_every_command_is_cloudstacks_or_declared_as_our_own():
    assert set(COMMANDS) - set(KNOWN) - OWN_COMMANDS - {"turnSSHKeyPair"} == set()
    print(  # noqa: T201 - the figure is wanted
        f"{len(KNOWN)} of {len(FACTS['commands'])} commands of CloudStack 4.22, {len(set(COMMANDS) - set(KNOWN))} own"
    )


@pytest.mark.parametrize("name", KNOWN)
def test_parameters(name):
    theirs = {n.lower(): t for n, t in facts(name)[6].items()}
    own = OWN_PARAMETERS["*"] | OWN_PARAMETERS.get(name, set())
    for parameter, ours in COMMANDS[name].parameters.items():
        if parameter in own:
            continue
        assert parameter.lower() in theirs, f"{parameter} is none of {sorted(theirs)}"
        wanted = theirs[parameter.lower()]
        assert bool(ours.required) == wanted.endswith("*"), f"{parameter} required"
        kind = wanted.rstrip("*")
        if (name, parameter) in LOOSER:
            continue
        if kind == "string" and (isinstance(ours, (Uuid, ListOf)) or ours.type_name == "uuid"):
            continue  # CloudStack says string where only an identifier is possible
        assert ALIKE.get(ours.type_name, ours.type_name) == ALIKE.get(kind, kind), parameter
    missing = {n for n, t in theirs.items() if t.endswith("*")} - {n.lower() for n in COMMANDS[name].parameters}
    assert not missing, "required by CloudStack and not known here"


@pytest.mark.parametrize("name", KNOWN)
def test_shape(name):
    is_async, creates, wrapper, shape, key, _, _ = facts(name)
    ours = COMMANDS[name]
    assert ours.is_async == is_async
    if is_async:
        assert ours.creates == creates
    assert (ours.wrapper, ours.shape) == (wrapper, shape)
    if shape in ("list", "object"):
        assert ours.object_key == key


@pytest.mark.parametrize("name", KNOWN)
def test_response_fields(name):
    theirs = FACTS["responses"].get(facts(name)[5])
    if theirs is None:
        pytest.fail(f"no facts of {facts(name)[5]}")
    ours = COMMANDS[name].response.fields
    unknown = set(ours) - set(theirs) - OWN_FIELDS.get(COMMANDS[name].object_key, set())
    assert not unknown
    for field, out in ours.items():
        if (COMMANDS[name].object_key, field) in OTHER_TYPES:
            continue
        if field in theirs and field != "jobresult":
            assert JSON_TYPES[out.kind] == theirs[field], field
