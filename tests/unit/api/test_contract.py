"""Every command that is here and in CloudStack 4.22 has its names, types, required flags, wrapper and keys."""

from __future__ import annotations

import pytest

from manager.api.command import COMMANDS
from manager.api.fields import ListOf, Parameter
from manager.api.response import Response
from tests.contract.cloudstack import facts
from tests.contract.report import figures, known

WIRED = {
    "hostid": "tells to which host the device is cabled",
    "hostinterface": "tells to which interface of that host",
    "vlan": "tells which VLANs of the cable are for tenant networks",
    "hostkey": "tells what the device is known by",
}
DEVIATIONS = {
    "listJobSteps": "shows the steps of a job, which CloudStack's jobs do not have",
    "explainPlacement": "tells why a host was chosen or not",
    "explainReachability": "tells why one can reach another or not",
    "createPacketCapture": "captures the packets of a NIC, which CloudStack leaves to those who own the hosts",
    "listPacketCaptures": "as above",
    "stopPacketCapture": "as above",
    "deletePacketCapture": "as above",
    **{f"addNetscalerLoadBalancer/{name}": text for name, text in WIRED.items()},
    **{f"netscalerloadbalancer.{name}": "as above" for name in ("hostid", "hostinterface", "vlan")},
    **dict.fromkeys(
        ("addSrxFirewall", "configureSrxFirewall", "deleteSrxFirewall", "listSrxFirewalls", "listSrxFirewallNetworks"),
        "CloudStack had them until 4.11, with these names; its plug-in is gone",
    ),
    "getConsoleOutput": "gives the text that a guest wrote to its serial console",
    "listDrift": "shows where hosts differ from the database",
    "listOrphans": "shows what hosts hold and the database does not know",
    "getJoinDocument": "gives the agent of a new host or image store what it needs to join",
    "*/clienttoken": "makes the repetition of a creating call harmless",
    "*/dryrun": "tells what a call would change, and does nothing",
    "addHost/details": "carries the public key of the host's agent",
    "deleteExtension/id": "CloudStack does not demand it, and can do nothing without it",
    "deleteCustomAction/id": "as deleteExtension/id",
    "createStoragePool/hostid": "names the host of a pool that is local to one",
    "listUserKeys": "several keys for a user, as CloudStack has them after 4.22",
    "listUserKeyRules": "as above",
    "deleteUserKeys": "as above",
    **{f"registerUserKeys/{name}": "as above" for name in ("name", "description", "startdate", "enddate", "rules")},
    "registerUserKeys/allowedcidrs": "keys sign from these networks only",
    **{
        f"userkeys.{name}": "describes one of several keys, as CloudStack does after 4.22"
        for name in (
            "id",
            "name",
            "description",
            "created",
            "startdate",
            "enddate",
            "state",
            "allowedcidrs",
            "permissions",
            "userid",
            "username",
            "accountid",
            "accountname",
            "accounttype",
            "roleid",
            "roletype",
            "rolename",
            "domainid",
            "domain",
            "domainpath",
        )
    },
    "setupUserTwoFactorAuthentication/codefor2fa": "taking away one's own second factor needs a code of it",
    "registerOauthProvider/issuerurl": "names any issuer of OpenID Connect, where CloudStack knows two or three",
    "updateOauthProvider/issuerurl": "as above",
    "oauthprovider.issuerurl": "as above",
    "oauthemail.email": "CloudStack declares the fields of a provider, and answers with this",
    "oauthlogin/domainId": "CloudStack says number, and takes a number or an identifier",
    "login/domainId": "CloudStack says number, and takes a number or an identifier",
    "virtualmachine.reason": "tells a tenant why a machine is not in the state that it wants",
    "loadbalancerruleinstance.reason": "as above",
    "alert.resolved": "tells when the cause of an alert was gone",
    "networkacl.hits": "tells how many packets the item has decided",
    "event.changes": "shows what the call changed, as [before, after] by column",
    "event.parameters": "shows what the call was given, without secrets",
    "event.sourceaddress": "tells from where the call came",
    "event.useragent": "tells what program made the call",
    "ipforwardingrule.ipaddressid": "CloudStack says number, and fills it with an identifier",
    "remoteaccessvpn.certificate": "a client proves the router by it, where CloudStack has one secret for everybody",
    "dedicatedguestvlanrange.physicalnetworkid": "CloudStack says number, and fills it with an identifier",
    "dedicatedguestvlanrange.zoneid": "CloudStack says number, and fills it with an identifier",
    "asyncjobs.jobresult": "CloudStack says string, and shows the object itself",
    "api.response.response": "the objects inside are described as the object around them",
}
"""What differs on purpose, and why: `command`, `command/parameter` (* for all commands) or `object key.field`."""
SHAPES = {"linkAccountToLdap": ("object", "linkAccountToLdap"), "verifyOAuthCodeAndGetUser": ("object", "oauthemail")}
"""What CloudStack declares otherwise than it answers."""
JSON_TYPES = {
    "string": "string", "integer": "integer", "long": "integer", "float": "number", "double": "number",
    "boolean": "boolean", "date": "date", "list": "array", "set": "array", "map": "object",
}  # fmt: skip
ALIKE = {"short": "integer", "float": "double", "object": "map"}
KNOWN = known()
TESTS_OWN = {"turnSSHKeyPair"}


def test_every_command_is_cloudstacks_or_declared_as_our_own(capsys):
    assert set(COMMANDS) - set(KNOWN) - set(DEVIATIONS) - TESTS_OWN == set()
    with capsys.disabled():
        print(f"\n{figures()}")  # noqa: T201 - the figure is wanted in every run


def test_every_deviation_is_one():
    """A line of the table that nothing needs any more is taken out."""
    there = set(COMMANDS) - set(KNOWN)
    for name, declared in COMMANDS.items():
        there |= {f"{name}/{parameter}" for parameter in declared.parameters}
        there |= {f"*/{parameter}" for parameter in declared.parameters}
        there |= set(_paths(declared.response, declared.object_key))
    assert set(DEVIATIONS) - there == set()


def _paths(response: type[Response], where: str):
    for name, out in response.fields.items():
        yield f"{where}.{name}"
        if out.nested is not None:
            yield from _paths(out.nested, f"{where}.{name}")


def _deviates(name: str, parameter: str) -> bool:
    return bool({f"{name}/{parameter}", f"*/{parameter}"} & set(DEVIATIONS))


def _type(parameter: Parameter) -> str:
    inner = parameter.inner.type_name if isinstance(parameter, ListOf) else ""
    return "list uuid" if inner == "uuid" else parameter.type_name


def _is_type(parameter: Parameter, wanted: str) -> bool:
    """CloudStack says string, or a list of strings, also where only identifiers, or lists, are possible."""
    ours = _type(parameter)
    if ours == "list uuid" and wanted == "list":
        return True
    if wanted == "string" and (ours == "uuid" or isinstance(parameter, ListOf)):
        return True
    return ALIKE.get(ours, ours) == ALIKE.get(wanted, wanted)


@pytest.mark.parametrize("name", KNOWN)
def test_parameters(name):
    theirs = {n.lower(): t for n, t in facts()["commands"][name][6].items()}
    for parameter, ours in COMMANDS[name].parameters.items():
        if _deviates(name, parameter):
            continue
        assert parameter.lower() in theirs, f"{parameter} is none of {sorted(theirs)}"
        wanted = theirs[parameter.lower()]
        assert bool(ours.required) == wanted.endswith("*"), f"{parameter} required"
        assert _is_type(ours, wanted.rstrip("*")), f"{parameter} is {_type(ours)}, not {wanted}"
    missing = {n for n, t in theirs.items() if t.endswith("*")} - {n.lower() for n in COMMANDS[name].parameters}
    assert not missing, "required by CloudStack and not known here"


@pytest.mark.parametrize("name", KNOWN)
def test_shape(name):
    is_async, creates, wrapper, shape, key, _, _ = facts()["commands"][name]
    shape, key = SHAPES.get(name, (shape, key))
    ours = COMMANDS[name]
    assert ours.is_async == is_async
    if is_async:
        assert ours.creates == creates
    assert (ours.wrapper, ours.shape) == (wrapper, shape)
    if shape in ("list", "object"):
        assert ours.object_key == key


@pytest.mark.parametrize("name", KNOWN)
def test_response_fields(name):
    kind = facts()["commands"][name][5]
    assert kind in facts()["responses"], f"no facts of {kind}"
    assert list(_wrong_fields(COMMANDS[name].response, kind, COMMANDS[name].object_key)) == []


def _wrong_fields(response: type[Response], kind: str, where: str):
    """What differs in the fields of `response` from those of CloudStack's class `kind`, objects inside included."""
    theirs = facts()["responses"][kind]
    for name, out in response.fields.items():
        if f"{where}.{name}" in DEVIATIONS:
            continue
        if name not in theirs:
            yield f"{where}.{name} is none of CloudStack's"
            continue
        wanted, _, inner = theirs[name].partition(" ")
        if JSON_TYPES[out.kind] != wanted:
            yield f"{where}.{name} is {out.kind}, not {wanted}"
        if inner and isinstance(out.nested, type) and issubclass(out.nested, Response):
            yield from _wrong_fields(out.nested, inner, f"{where}.{name}")
        elif inner and not out.description.endswith(": none"):
            yield f"{where}.{name} does not tell the fields of its objects"
