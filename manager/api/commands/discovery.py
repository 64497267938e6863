"""What the API offers: listApis and listCapabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manager import access, configuration
from manager.api import discovery
from manager.api.call import Call
from manager.api.command import COMMANDS, EVERYONE, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Text
from manager.api.response import Bool, Int, Long, Many, Response, Shown, Str
from manager.servers import VERSION


class ApiParameterResponse(Response):
    name = Str("the parameter's name")
    description = Str("what it is for")
    type = Str("its type")
    length = Int("how long it may be")
    required = Bool("whether it must be given")
    since = Str("the version that brought it")
    related = Str("the commands whose answers have identifiers for it")


class ApiFieldResponse(Response):
    name = Str("the field's name")
    description = Str("what it is")
    type = Str("its type")
    response = Many("the fields of the objects in it")


class ApiResponse(Response):
    object_key = "api"
    name = Str("the command's name")
    description = Str("what it does")
    isasync = Bool("whether it answers with a job")
    related = Str("commands whose answers are of the same kind")
    params = Many("its parameters", ApiParameterResponse)
    response = Many("the fields of its answer", ApiFieldResponse)

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [discovery.describe(row) for row in rows]


class ListApis(Request):
    name = Text("only the command of this name")


@command("listApis", ListApis, ApiResponse, roles=EVERYONE, is_early=True)
def list_apis(call: Call, name: str | None) -> Page:
    """List the commands that the caller may use, with their parameters and answers."""
    rows = [c for _, c in sorted(COMMANDS.items()) if c.is_open or access.allows(call, c)]
    if name is not None:
        rows = [row for row in rows if row.name.lower() == name.lower()]
        if not rows:
            raise Invalid(f"The given command '{name}' either does not exist, is not available for user.")
    return Page(rows, len(rows))


class CapabilitiesResponse(Response):
    object_key = "capability"
    securitygroupsenabled = Bool("whether networks can have security groups")
    dynamicrolesenabled = Bool("whether roles have rules")
    cloudstackversion = Str("the version of CloudStack whose API this is")
    userpublictemplateenabled = Bool("whether users may make templates public")
    supportELB = Str("whether load balancing is elastic")  # noqa: N815 - CloudStack's spelling
    projectinviterequired = Bool("whether members of a project are invited")
    allowusercreateprojects = Bool("whether users may make projects")
    customdiskofferingminsize = Long("the smallest disk of a size of one's own, in GiB")
    customdiskofferingmaxsize = Long("the largest disk of a size of one's own, in GiB")
    regionsecondaryenabled = Bool("whether secondary storage belongs to regions")
    kvmsnapshotenabled = Bool("whether volumes on KVM can be snapshot")
    allowuserviewdestroyedvm = Bool("whether users see destroyed virtual machines")
    allowuserexpungerecovervm = Bool("whether users may expunge and recover virtual machines")
    allowuserexpungerecovervolume = Bool("whether users may expunge and recover volumes")
    allowuserviewalldomainaccounts = Bool("whether users see all accounts of their domain")
    allowuserforcestopvm = Bool("whether users may power off virtual machines")
    kubernetesserviceenabled = Bool("whether there are Kubernetes clusters")
    dynamicscalingenabled = Bool("whether running virtual machines can be scaled")
    defaultuipagesize = Long("the rows on a page of a portal")
    instanceleaseenabled = Bool("whether virtual machines can have a lease")
    apilimitinterval = Int("the seconds in which the calls of an account are counted, where they are limited")
    apilimitmax = Int("the calls that the caller's account may make in them")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Any]) -> list[Shown]:
        return list(rows)


@command("listCapabilities", Request, CapabilitiesResponse, roles=EVERYONE, shape="object")
def list_capabilities(call: Call) -> dict[str, Any]:
    """List what this cloud can do."""
    shown: Shown = {name: False for name, out in CapabilitiesResponse.fields.items() if out.kind == "boolean"}
    shown |= {
        "cloudstackversion": VERSION,
        "dynamicrolesenabled": True,
        "securitygroupsenabled": True,
        "allowuserexpungerecovervm": configuration.value(call.session, "allow.user.expunge.recover.vm"),
        "allowuserforcestopvm": True,
        "supportELB": "false",
        "customdiskofferingminsize": 1,
        "customdiskofferingmaxsize": 1024,
        "defaultuipagesize": 20,
    }
    if configuration.value(call.session, "api.throttling.enabled"):
        shown["apilimitinterval"] = configuration.value(call.session, "api.throttling.interval")
        shown["apilimitmax"] = configuration.value(call.session, "api.throttling.max", call.account)
    return {"capability": CapabilitiesResponse.shown(call, [shown])[0]}
