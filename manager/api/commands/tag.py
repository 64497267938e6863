"""Tags: pairs of a key and a value on any thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from manager import access
from manager import models as m
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import ListOf, MapOf, Text, Uuid
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import owners_of
from manager.models import Tag, WorkflowRow

LONGEST = 255

TAGGED: dict[str, type[Any]] = {
    "UserVm": m.Vm, "Template": m.Template, "Volume": m.Volume, "Network": m.Network, "Nic": m.Nic,
    "PublicIpAddress": m.PublicAddress, "Zone": m.Zone, "ServiceOffering": m.ServiceOffering,
    "DiskOffering": m.DiskOffering, "NetworkOffering": m.NetworkOffering, "Domain": m.Domain, "Account": m.Account,
    "User": m.User, "Host": m.Host, "Cluster": m.Cluster, "Pod": m.Pod, "Storage": m.StoragePool,
    "SSHKeyPair": m.SshKeyPair, "Project": m.Project, "FirewallRule": m.FirewallRule,
    "PortForwardingRule": m.PortForwardingRule, "NetworkACL": m.NetworkAclItem, "NetworkACLList": m.NetworkAclList,
    "SecurityGroup": m.SecurityGroup, "SecurityGroupRule": m.SecurityGroupRule, "LoadBalancer": m.LoadBalancerRule,
    "PrivateGateway": m.PrivateGateway, "StaticRoute": m.StaticRoute, "Vpc": m.Vpc,
}  # fmt: skip
_TYPES = {name.lower(): name for name in TAGGED} | {"virtualmachine": "UserVm", "vm": "UserVm", "instance": "UserVm"}


def tag_type(name: str) -> str:
    """The kind of thing as tags store it.

    :raises Invalid: nothing of that kind can have tags
    """
    found = _TYPES.get(name.lower())
    if found is None:
        raise Invalid(f"There are no tags on {name}; the resource type is one of {', '.join(sorted(TAGGED))}.")
    return found


class TagResponse(Response):
    object_key = "tag"
    shows = Tag
    key = Str("the tag's key")
    value = Str("its value")
    resourcetype = Str("the kind of thing that it is on")
    resourceid = Str("the id of the thing that it is on")
    account = Str("the account that owns the thing")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    domainpath = Str("the path of the owner's domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Tag]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        return [
            {
                "key": row.key,
                "value": row.value,
                "resourcetype": row.resource_type,
                "resourceid": row.resource_id,
                **owners[row.account_id],
            }
            for row in rows
        ]


class CreateTags(Request):
    resourcetype = Text("the kind of things, such as UserVm or Network", required=True)
    resourceids = ListOf(Uuid("a thing"), "the things", required=True)
    tags = MapOf("the tags", max_length=LONGEST, required=True)


class DeleteTags(Request):
    resourcetype = Text("the kind of things, such as UserVm or Network", required=True)
    resourceids = ListOf(Uuid("a thing"), "the things", required=True)
    tags = MapOf("the tags to remove, those of any value where it is empty; all when absent", max_length=LONGEST)


class ListTags(AccountListRequest):
    resourcetype = Text("only tags on this kind of thing")
    resourceid = Uuid("only tags on this thing")
    key = Text("only tags of this key")
    value = Text("only tags of this value")


def _things(call: Call, kind: str, ids: list[str]) -> list[Any]:
    if not ids:
        raise Invalid("The parameter resourceids names nothing.")
    things = access.entities(call, TAGGED[kind], "resourceids", list(dict.fromkeys(ids)), access.MANAGE)
    call.subject = things[0]
    return things


@command("createTags", CreateTags, SuccessResponse, is_async=True, roles=EVERYONE, event="CREATE_TAGS")
def create_tags(call: Call, resourcetype: str, resourceids: list[str], tags: dict[str, str]) -> WorkflowRow:
    """Put tags on things."""
    kind = tag_type(resourcetype)
    things = _things(call, kind, resourceids)
    for thing in things:
        owner = getattr(thing, "account_id", None) or call.account.id
        call.session.add_all(
            Tag(resource_id=thing.id, key=key, value=value, resource_type=kind, account_id=owner)
            for key, value in tags.items()
        )
    named = ", ".join(sorted(tags))
    call.flush(taken=f"One of the things has a tag of the key {named} already.")
    return call.job_done(things[0])


@command("deleteTags", DeleteTags, SuccessResponse, is_async=True, roles=EVERYONE, event="DELETE_TAGS")
def delete_tags(call: Call, resourcetype: str, resourceids: list[str], tags: dict[str, str] | None) -> WorkflowRow:
    """Take tags off things."""
    things = _things(call, tag_type(resourcetype), resourceids)
    on_things = Tag.resource_id.in_([thing.id for thing in things])
    if tags is None:
        call.session.execute(delete(Tag).where(on_things))
    for key, value in (tags or {}).items():
        statement = delete(Tag).where(on_things, Tag.key == key)
        call.session.execute(statement.where(Tag.value == value) if value else statement)
    return call.job_done(things[0])


@command("listTags", ListTags, TagResponse, roles=EVERYONE)
def list_tags(call: Call, **filters: Any) -> Page:
    """List tags."""
    query = select(Tag).where(access.visible(call, Tag))
    if filters["resourcetype"] is not None:
        query = query.where(Tag.resource_type == tag_type(filters["resourcetype"]))
    if filters["resourceid"] is not None:
        query = query.where(Tag.resource_id == filters["resourceid"])
    if filters["key"] is not None:
        query = query.where(Tag.key == filters["key"])
    if filters["value"] is not None:
        query = query.where(Tag.value == filters["value"])
    if filters["keyword"]:
        query = query.where(Tag.key.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Tag.resource_id, Tag.key))
