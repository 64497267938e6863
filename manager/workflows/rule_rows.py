"""Rows of rules, as workflows and API calls change them. Whoever changes rules of a network locks its row first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Network, NetworkRule, RemoteAccessVpn, SecurityGroupRule, utcnow
from manager.models.states import RULE_MOVES, IllegalMove


def next_revision(session: Session, network_id: str) -> int:
    """The number of the change of the network's rules that this transaction makes; others wait until it ends.

    :raises IllegalMove: the network is going away
    """
    going = update(Network).where(
        Network.id == network_id, Network.removed.is_(None), Network.state.not_in(("Destroy", "Shutdown"))
    )
    if not write(session, going.values(rules_wanted=Network.rules_wanted + 1)):
        raise IllegalMove(f"The network {network_id} is being taken down; its rules and addresses go with it.")
    return int(session.scalars(select(Network.rules_wanted).where(Network.id == network_id)).one())


def forget_rules(session: Session, *which: ColumnElement[bool]) -> None:
    """Rules that no router has any more, or never had, are removed."""
    gone = update(NetworkRule).where(NetworkRule.removed.is_(None), *which)
    write(session, gone.values(removed=utcnow(), live=None, guest_claim=None, address_id=None))


def forget_vpns(session: Session, *which: ColumnElement[bool]) -> None:
    """As `forget_rules`, of remote access."""
    gone = update(RemoteAccessVpn).where(RemoteAccessVpn.removed.is_(None), *which)
    write(session, gone.values(removed=utcnow(), live=None, state="Removed"))


def living(session: Session, *which: ColumnElement[bool]) -> Sequence[NetworkRule]:
    query = select(NetworkRule).where(NetworkRule.removed.is_(None), *which).order_by(NetworkRule.id)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def move_all(rules: Iterable[NetworkRule | SecurityGroupRule], event: str) -> None:
    """Move those rules that are in a state which `event` leads from; others were moved on by somebody else."""
    for rule in rules:
        if rule.state in RULE_MOVES.table[event]:
            RULE_MOVES.move(rule, event)
