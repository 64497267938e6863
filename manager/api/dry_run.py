"""dryrun=true: a call that does nothing and answers with what it would change in routers and on hosts.

The call is made like any other, so what would be refused is refused; then all of it is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import DRY_RUN, ApiCommand
from manager.api.errors import Invalid
from manager.api.response import Int, Many, Response, Shown, Str
from manager.api.wire import Incoming
from manager.models import Host, WorkflowRow
from manager.workflows.rehearsal import Difference, HostChange, RuleChange, concerned, difference, pictures, play


class RuleChangeResponse(Response):
    networkid = Str("the network that it is in")
    where = Str("router, or hosts: who holds guests to it")
    part = Str("what list of that it is, such as openings, forwardings, acl.rules or groups.rules")
    change = Str("add or remove")
    rule = Str("what is added or removed, as JSON")


class FlowChangeResponse(Response):
    networkid = Str("the network that it is of")
    added = Int("how many lines of flows, groups and meters come to the host")
    removed = Int("how many go")
    hostid = Str("the host's id", root_only=True)
    hostname = Str("the host's name", root_only=True)
    flows = Many("the lines, each after + or -; numbers that only the host knows are others there", root_only=True)


class DryRunResponse(Response):
    object_key = DRY_RUN
    rulecount = Int("how many rules change")
    rules = Many("the rules that change", RuleChangeResponse)
    hostcount = Int("on how many hosts flows change")
    hosts = Many("those hosts", FlowChangeResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Difference]) -> list[Shown]:
        ids = {one.host_id for row in rows for one in row.hosts}
        found = call.session.execute(select(Host.id, Host.name).where(Host.id.in_(ids)))
        names = {row.id: row.name for row in found}
        return [
            {
                "rulecount": len(row.rules),
                "rules": [_rule(one) for one in row.rules],
                "hostcount": len({one.host_id for one in row.hosts}),
                "hosts": [_host(one, names) for one in row.hosts],
            }
            for row in rows
        ]


def _rule(one: RuleChange) -> Shown:
    change = "add" if one.added else "remove"
    return {"networkid": one.network_id, "where": one.where, "part": one.part, "change": change, "rule": one.value}


def _host(one: HostChange, names: dict[str, str]) -> Shown:
    return {
        "networkid": one.network_id,
        "added": len(one.added),
        "removed": len(one.removed),
        "hostid": one.host_id,
        "hostname": names.get(one.host_id),
        "flows": [*(f"- {line}" for line in one.removed), *(f"+ {line}" for line in one.added)],
    }


class Rehearsed(Exception):  # noqa: N818 - it names what happened
    """Ends the transaction of a call that shall do nothing; `body` is its answer."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__()
        self.body = body


def is_wanted(request: Incoming) -> bool:
    return request.names.get(DRY_RUN, "").lower() == "true"


def demand_possible(api: ApiCommand) -> None:
    """:raises Invalid: the command would do what it does, which the caller does not want"""
    if not (api.rehearses or api.reads):
        raise Invalid(f"The command {api.name} has no {DRY_RUN}, so nothing was done.")


def rehearse(call: Call, handle: Callable[[], Any]) -> None:
    """Have the call made, and taken back.

    :raises Rehearsed: always, unless the call is refused
    """
    point = call.session.begin_nested()
    result = handle()
    job = result if isinstance(result, WorkflowRow) else None
    play(call.session, job)
    networks = concerned(call.session, job, call.subject if call.subject is not None else result)
    after = pictures(call.session, networks)
    point.rollback()
    found = difference(pictures(call.session, networks), after)
    (shown,) = DryRunResponse.shown(call, [found])
    raise Rehearsed({DRY_RUN: shown})
