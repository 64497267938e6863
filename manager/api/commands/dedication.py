"""Dedicated zones, pods, clusters and hosts: kept for one account, or for a domain and all below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import delete, select

from manager import access
from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, Response, SuccessResponse, command
from manager.api.commands.place import hold, kind_of
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Shown, Str
from manager.api.rows import by_id
from manager.db import write
from manager.models import Account, Cluster, Dedication, Domain, Host, Pod, Vm, WorkflowRow, Zone, new_id


class DedicatedResponse(Response):
    """`kind` is the dedicated resource's model, `word` what its fields are called by."""

    kind: ClassVar[type[Any]]
    word: ClassVar[str]
    shows = Dedication
    id = Str("the dedication's id")
    accountid = Str("the id of the account that it is kept for")
    domainid = Str("the id of the domain that it is kept for")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Dedication]) -> list[Shown]:
        things = by_id(call, cls.kind, (row.resource_id for row in rows))
        return [
            {
                "id": row.id,
                "accountid": row.account_id,
                "domainid": row.domain_id,
                f"{cls.word}id": row.resource_id,
                f"{cls.word}name": things[row.resource_id].name,
            }
            for row in rows
        ]


class DedicateRequest(Request):
    domainid = Ref(Domain, "the domain that it is kept for, with all below it", required=True)
    account = Text("the one account of that domain that it is kept for")


def dedicate(call: Call, thing: Any, domain: Domain, account: str | None) -> WorkflowRow:
    """As `keep`, as a job that is done."""
    return call.job_done(keep(call, thing, domain, account))


def keep(call: Call, thing: Any, domain: Domain, account: str | None) -> Dedication:
    """Keep the thing for the domain or its account, if nothing of others runs there.

    :raises Invalid: something does, or it is dedicated already
    """
    hold(call, thing)
    _hold_hosts(call, thing)
    owner = access.owner(call, account, domain) if account else None
    kind = kind_of(type(thing))
    row = Dedication(
        id=new_id(),
        resource_id=thing.id,
        resource_type=type(thing).__name__,
        domain_id=domain.id,
        account_id=owner.id if owner else None,
    )
    call.add(row, taken=f"The {kind} {thing.name} is dedicated already; release it first.")
    _refuse_others(call, thing, domain, owner)
    return row


HOSTS_OF = {Zone: Host.zone_id, Pod: Host.pod_id, Cluster: Host.cluster_id, Host: Host.id}


def _hold_hosts(call: Call, thing: Any) -> None:
    """Wait for the claims of hosts there that are under way, and have later ones wait for the end of this call."""
    inside = select(Host.id).where(HOSTS_OF[type(thing)] == thing.id)
    call.session.scalars(inside.order_by(Host.id).with_for_update()).all()


def _refuse_others(call: Call, thing: Any, domain: Domain, owner: Account | None) -> None:
    query = (
        select(Vm.id)
        .join(Host, Host.id == Vm.host_id)
        .join(Account, Account.id == Vm.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(HOSTS_OF[type(thing)] == thing.id)
    )
    others = Vm.account_id != owner.id if owner is not None else ~access.below(domain)
    found = call.session.scalar(query.where(others).limit(1))
    if found is not None:
        raise Invalid(
            f"The {kind_of(type(thing))} {thing.name} cannot be dedicated: the virtual machine {found} of another "
            "account or domain runs there."
        )


class ListDedicated(ListRequest):
    domainid = Ref(Domain, "only what is kept for this domain")
    account = Text("only what is kept for this account of it")


def listed(call: Call, model: type[Any], thing: Any, given: Given) -> Page:
    query = select(Dedication).join(model, model.id == Dedication.resource_id).where(model.removed.is_(None))
    if thing is not None:
        query = query.where(Dedication.resource_id == thing.id)
    if given.domainid is not None:
        query = query.where(Dedication.domain_id == given.domainid.id)
    if given.account:
        if given.domainid is None:
            raise Invalid("The parameter account needs domainid, which says where the account is.")
        query = query.where(Dedication.account_id == access.owner(call, given.account, given.domainid).id)
    if given.keyword:
        query = query.where(model.name.contains(given.keyword, autoescape=True))
    return call.paged(query.order_by(model.name, model.id))


def release(call: Call, thing: Any) -> WorkflowRow:
    """:raises Invalid: it is not dedicated"""
    call.subject = thing
    if not write(call.session, delete(Dedication).where(Dedication.resource_id == thing.id)):
        raise Invalid(f"The {kind_of(type(thing))} {thing.name} is not dedicated.")
    return call.job_done(thing)


def _declare(kind: type[Any]) -> None:
    """The commands that dedicate, list and release things of a kind."""
    name, word = kind.__name__, kind_of(kind)
    key = f"{word}id"
    fields = {key: Str(f"the {word}'s id"), f"{word}name": Str("its name")}
    own = {"kind": kind, "word": word, "object_key": f"dedicated{word}", **fields}
    response = type(f"Dedicated{name}Response", (DedicatedResponse,), own)
    perhaps = {key: Ref(kind, f"only this {word}")}

    def keep(call: Call, given: Given) -> WorkflowRow:
        return dedicate(call, getattr(given, key), given.domainid, given.account)

    def show(call: Call, given: Given) -> Page:
        return listed(call, kind, getattr(given, key), given)

    def open_up(call: Call, given: Given) -> WorkflowRow:
        return release(call, getattr(given, key))

    keep.__doc__ = f"Keep a {word} for a domain or an account: no virtual machine of others is placed there any more."
    show.__doc__ = f"List dedicated {word}s."
    open_up.__doc__ = f"Open a dedicated {word} to everyone."
    event = "DEDICATE.RESOURCE"
    request = type(f"Dedicate{name}", (DedicateRequest,), {key: Ref(kind, f"the {word}", required=True)})
    command(f"dedicate{name}", request, response, is_async=True, event=event, shape="list")(keep)
    command(f"listDedicated{name}s", type(f"ListDedicated{name}s", (ListDedicated,), perhaps), response)(show)
    request = type(f"Release{name}", (Request,), {key: Ref(kind, f"the {word}", required=True)})
    command(f"releaseDedicated{name}", request, SuccessResponse, is_async=True, event=f"{event}.RELEASE")(open_up)


for _kind in HOSTS_OF:
    _declare(_kind)
