"""Workflows of remote access: a change is in its rows at once, and its job ends when all routers concerned have it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import RemoteAccessVpn, VpnUser, WorkflowRow
from manager.models.states import VPN_MOVES, VPN_USER_MOVES
from manager.workflows.engine import Ask, Outcome, Run, Step, Workflow, workflow
from manager.workflows.rule_rows import forget_vpns, next_revision
from manager.workflows.rules import carried, carry, tell_again
from manager.workflows.views import picture
from manager.workflows.vpn_site import tell_vpcs
from manager.workflows.vpn_wanted import WANTED_VPNS


def _vpn(run: Run) -> RemoteAccessVpn:
    vpn: RemoteAccessVpn = run.subject(RemoteAccessVpn)
    return vpn


def _user(run: Run) -> VpnUser:
    user: VpnUser = run.subject(VpnUser)
    return user


def carry_vpn(run: Run) -> Outcome:
    """A network's router hears of it with all other changes of the network, that of a VPC by itself."""
    return tell_vpcs(run) if run.arguments.get("vpcs") else carry(run)


def _tell_again(run: Run) -> list[Ask]:
    run.session.flush()
    return tell_vpcs(run) if run.arguments.get("vpcs") else tell_again(run)


def take_vpn_back(run: Run) -> list[Ask]:
    forget_vpns(run.session, RemoteAccessVpn.id == run.row.subject_id)
    return _tell_again(run)


def mark_vpn_running(run: Run) -> Outcome:
    if _vpn(run).state == "Added":
        VPN_MOVES.move(_vpn(run), "run")
    return None


def keep_vpn(run: Run) -> list[Ask]:
    if _vpn(run).removed is None:
        VPN_MOVES.move(_vpn(run), "keep")
    return _tell_again(run)


def drop_vpn(run: Run) -> Outcome:
    forget_vpns(run.session, RemoteAccessVpn.id == run.row.subject_id)
    return None


start_vpn = workflow("vpn.start", RemoteAccessVpn, [Step(carry_vpn, undo=take_vpn_back), Step(mark_vpn_running)])
stop_vpn = workflow("vpn.stop", RemoteAccessVpn, [Step(carry_vpn, undo=keep_vpn), Step(drop_vpn)])


def carry_all(run: Run) -> Outcome:
    """Wait until the routers of all networks with remote access were told, and tell those of VPCs."""
    for network_id, revision in run.arguments["networks"]:
        waiting = carried(run, network_id, revision)
        if waiting is not None:
            return waiting
    return tell_vpcs(run)


def _tell_all_again(run: Run) -> list[Ask]:
    run.session.flush()
    asks = [
        ask
        for network_id, _ in run.arguments["networks"]
        for ask in picture(run.session, network_id, of_router=True).asks()
    ]
    return asks + tell_vpcs(run)


def take_user_back(run: Run) -> list[Ask]:
    _user(run).remove()
    return _tell_all_again(run)


def mark_user_active(run: Run) -> Outcome:
    if _user(run).state == "Add":
        VPN_USER_MOVES.move(_user(run), "apply")
    return None


def keep_user(run: Run) -> list[Ask]:
    if _user(run).state == "Revoke":
        VPN_USER_MOVES.move(_user(run), "keep")
    return _tell_all_again(run)


def drop_user(run: Run) -> Outcome:
    _user(run).remove()
    return None


add_user = workflow("vpn-user.add", VpnUser, [Step(carry_all, undo=take_user_back), Step(mark_user_active)])
remove_user = workflow("vpn-user.remove", VpnUser, [Step(carry_all, undo=keep_user), Step(drop_user)])


def start_for_user(session: Session, job: Workflow, user: VpnUser, *, call: Any = None) -> WorkflowRow:
    """A job that tells of the user to the routers of all networks and VPCs of the account that have remote access."""
    query = select(RemoteAccessVpn.network_id, RemoteAccessVpn.vpc_id).where(
        RemoteAccessVpn.account_id == user.account_id,
        RemoteAccessVpn.removed.is_(None),
        RemoteAccessVpn.state.in_(WANTED_VPNS),
    )
    concerned = session.execute(query).all()
    networks = [(key, next_revision(session, key)) for key in sorted(row.network_id for row in concerned if row[0])]
    vpcs = sorted(row.vpc_id for row in concerned if row.vpc_id)
    return job.start(session, user, call=call, networks=networks, vpcs=vpcs)
