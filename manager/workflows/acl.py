"""Workflows of network ACL lists: a change is in its rows at once, and its job ends when the hosts have it.

All hosts of the list's tiers, not their routers: guests are held where they run. Private gateways are a router's own.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Network, NetworkAclItem, NetworkAclList, WorkflowRow
from manager.models.states import RULE_MOVES
from manager.workflows.acl_rows import items_of, renumber, tiers_of
from manager.workflows.carriers import carried_by, locked
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, Workflow, workflow
from manager.workflows.views import picture
from manager.workflows.vpc_view import vpc_router
from manager.workflows.vpc_ways import gateways_with


def _locked(session: Session, list_id: str) -> NetworkAclList:
    acl: NetworkAclList = locked(session, NetworkAclList, list_id)
    return acl


def _tell(session: Session, list_id: str) -> list[Ask]:
    """What is wanted, for all hosts of all tiers that have the list, and the routers of gateways that do.

    All tiers are locked before the first picture, which also locks the VPC that they share: one that is at the picture
    of another tier has that tier and waits for the VPC.
    """
    asks = [ask for tier in tiers_of(session, list_id, lock=True) for ask in picture(session, tier.id).asks()]
    vpcs = sorted({gateway.vpc_id for gateway in gateways_with(session, list_id)})
    routers = [vpc_router(session, vpc_id) for vpc_id in vpcs]
    return asks + [ask for router in routers if router is not None for ask in router.asks()]


def tell_hosts(run: Run) -> list[Ask]:
    """No undo: it tells what is wanted, and whoever waits takes back what he wanted."""
    run.note(revision=_locked(run.session, run.row.subject_id).items_wanted)
    return _tell(run.session, run.row.subject_id)


def mark_told(run: Run) -> Outcome:
    told = update(NetworkAclList).where(NetworkAclList.id == run.row.subject_id)
    write(run.session, told.values(items_applied=run.recall("revision")))
    return None


carry_items = workflow(
    "acl.carry", NetworkAclList, [Step(tell_hosts), Step(mark_told)], lane="acl-carrier", awaited=True
)


def carry(run: Run) -> Outcome:
    acl = _locked(run.session, run.arguments["list_id"])
    return carried_by(run, carry_items, acl, acl.items_applied, f"Hosts were not told of the network ACL {acl.name}")


def _item(run: Run) -> NetworkAclItem:
    item: NetworkAclItem = run.subject(NetworkAclItem)
    return item


def _again(run: Run) -> list[Ask]:
    """What an undo has taken back in the rows, hosts must not keep."""
    run.session.flush()
    return _tell(run.session, run.arguments["list_id"])


def take_back(run: Run) -> list[Ask]:
    _locked(run.session, run.arguments["list_id"])
    item = _item(run)
    if item.removed is None:
        item.remove()
    return _again(run)


def mark_active(run: Run) -> Outcome:
    item = _item(run)
    if item.removed is None and item.state == "Add":
        RULE_MOVES.move(item, "apply")
    return None


def keep_item(run: Run) -> list[Ask]:
    _locked(run.session, run.arguments["list_id"])
    item = _item(run)
    if item.removed is None:
        RULE_MOVES.move(item, "keep")
    return _again(run)


def drop_item(run: Run) -> Outcome:
    item = _item(run)
    if item.removed is None:
        item.remove()
    return None


def restore_items(run: Run) -> list[Ask]:
    """Values and places as they were before, as far as nobody has the places meanwhile."""
    list_id = run.arguments["list_id"]
    _locked(run.session, list_id)
    item = _item(run)
    for name, value in run.arguments["before"].items():
        setattr(item, name, value)
    renumber(run.session, list_id, run.arguments["numbers"])
    return _again(run)


add_item = workflow("acl.add", NetworkAclItem, [Step(carry, undo=take_back), Step(mark_active)])
remove_item = workflow("acl.remove", NetworkAclItem, [Step(carry, undo=keep_item), Step(drop_item)])
change_items = workflow("acl.change", NetworkAclItem, [Step(carry, undo=restore_items)])


def start_for(
    session: Session, job: Workflow, item: NetworkAclItem, revision: int, *, call: Any = None, **more: Any
) -> WorkflowRow:
    return job.start(session, item, call=call, list_id=item.list_id, revision=revision, **more)


def numbers_of(session: Session, list_id: str) -> dict[str, int]:
    return {item.id: item.number for item in items_of(session, list_id)}


def use_list(run: Run) -> list[Ask]:
    """The tier has the list from now on.

    :raises StepFailed: the list or the tier was removed meanwhile
    """
    acl = _locked(run.session, run.arguments["list_id"])
    if acl.removed is not None:
        raise StepFailed(f"The network ACL {acl.name} has been removed.", 431)
    network = run.subject(Network)
    if network.removed is not None or network.state in ("Destroy", "Shutdown"):
        raise StepFailed(f"The network {network.name} is being taken down.", 431)
    if run.recall("former") is None:
        run.note(former=network.acl_id or "")
    network.acl_id = run.arguments["list_id"]
    run.session.flush()
    return picture(run.session, network.id).asks()


def use_former(run: Run) -> list[Ask]:
    network = run.subject(Network)
    former = run.recall("former")
    if former is not None and network.removed is None:
        network.acl_id = former or None
        run.session.flush()
    return picture(run.session, network.id).asks()


replace_list = workflow("acl.replace", Network, [Step(use_list, undo=use_former)], lane="network-acl")
