"""Workflow of a network that changes: what it tells its guests, its offering, its source NAT."""

from __future__ import annotations

from sqlalchemy import select, update

from manager.db import write
from manager.models import Network, NetworkRule, PublicAddress
from manager.models.states import ROUTER_MOVES
from manager.placement.address import source_nat_of
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.network import network_of, place_router, remove_router, router_of, start_router, stop_router
from manager.workflows.rule_rows import next_revision


def set_values(run: Run) -> Outcome:
    network = network_of(run)
    values = run.arguments["values"]
    run.note(before={name: getattr(network, name) for name in values})
    for name, value in values.items():
        setattr(network, name, value)
    return None


def set_back(run: Run) -> list[Ask]:
    network = network_of(run)
    for name, value in (run.recall("before") or {}).items():
        setattr(network, name, value)
    run.session.flush()
    return start_router(run)


def set_source_nat(run: Run) -> Outcome:
    """Another public address of the network becomes its source NAT; the former stays the network's.

    :raises StepFailed: it was released meanwhile, or stands for a virtual machine by now
    """
    chosen = run.arguments.get("source_nat")
    if chosen is None:
        return None
    network = network_of(run)
    next_revision(run.session, network.id)  # rules of the address wait until this is committed
    former = source_nat_of(run.session, network.id)
    nat = select(NetworkRule.id).filter_by(address_id=chosen, purpose="StaticNat", removed=None)
    if run.session.scalar(nat) is not None:
        raise StepFailed("The public address stands for a virtual machine by now; it cannot be the source NAT.", 431)
    if former is not None and former.id != chosen:
        run.note(former=former.id)
        _mark_source_nat(run, former.id, is_source_nat=False)
    if not _mark_source_nat(run, chosen, is_source_nat=True):
        raise StepFailed("The public address is not the network's any more; it cannot be the source NAT.", 431)
    return None


def set_source_nat_back(run: Run) -> Outcome:
    former = run.recall("former")
    if former is not None:
        _mark_source_nat(run, run.arguments["source_nat"], is_source_nat=False)
        _mark_source_nat(run, former, is_source_nat=True)
    return None


def _mark_source_nat(run: Run, address_id: str, *, is_source_nat: bool) -> int:
    held = (PublicAddress.network_id == run.row.subject_id) & PublicAddress.releasing.is_(False)
    marked = update(PublicAddress).where(PublicAddress.id == address_id, held)
    return write(run.session, marked.values(source_nat=is_source_nat))


def place_missing_router(run: Run) -> Outcome:
    """The new offering may be the first with services of a router."""
    network = network_of(run)
    if network.vpc_id is not None or network.state != "Implemented" or router_of(run) is not None:
        return None
    run.note(placed=True)
    return place_router(run)


def stop_placed_router(run: Run) -> Outcome:
    return stop_router(run) if run.recall("placed") else None


def drop_placed_router(run: Run) -> Outcome:
    return remove_router(run) if run.recall("placed") else None


def mark_changed(run: Run) -> Outcome:
    router = router_of(run)
    if router is not None and router.state == "Starting":
        ROUTER_MOVES.move(router, "started")
    return None


change_network = workflow(
    "network.change",
    Network,
    [
        Step(set_values, undo=set_back),
        Step(set_source_nat, undo=set_source_nat_back),
        Step(place_missing_router, undo=drop_placed_router),
        Step(start_router, undo=stop_placed_router),
        Step(mark_changed),
    ],
    awaited=True,
)
