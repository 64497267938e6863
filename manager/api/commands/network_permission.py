"""Which accounts besides its owner may have virtual machines in a network."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import ListOf, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import owner_shown
from manager.db import write
from manager.models import Account, Domain, Network, NetworkShare, Nic, Project, Vm
from manager.placement.address import insert_or_nothing

EVENT = "NETWORK.UPDATE"


class OneNetwork(Request):
    networkid = Ref(Network, "the network, which is for its account", required=True, right="manage")


class PermittedAccounts(OneNetwork):
    accounts = ListOf(Text(""), "the names of accounts of the domain of the network's owner")
    accountids = ListOf(Ref(Account, "", right="use"), "accounts of any domain, which the caller must administer")
    projectids = ListOf(Ref(Project, "", right="use"), "projects, which the caller must take part in")


@command("createNetworkPermissions", PermittedAccounts, SuccessResponse, roles=EVERYONE, event=EVENT)
def create_network_permissions(call: Call, given: Given) -> bool:
    """Let other accounts deploy virtual machines into a network. What the network costs stays its owner's."""
    network = _own_kind(given.networkid)
    for account_id in sorted(_accounts(call, given) - {network.account_id}):
        values = {"network_id": network.id, "account_id": account_id}
        write(call.session, insert_or_nothing(call.session, NetworkShare, values))
    return True


@command("removeNetworkPermissions", PermittedAccounts, SuccessResponse, roles=EVERYONE, event=EVENT)
def remove_network_permissions(call: Call, given: Given) -> bool:
    """Take permissions back from accounts that have no virtual machine in the network."""
    network = _own_kind(given.networkid)
    _take_back(call, network, _accounts(call, given))
    return True


@command("resetNetworkPermissions", OneNetwork, SuccessResponse, roles=EVERYONE, event=EVENT)
def reset_network_permissions(call: Call, networkid: Network) -> bool:
    """Take all permissions back; nobody but the owner may have virtual machines in the network by then."""
    held = select(NetworkShare.account_id).where(NetworkShare.network_id == _own_kind(networkid).id)
    _take_back(call, networkid, set(call.session.scalars(held)))
    return True


def _own_kind(network: Network) -> Network:
    """:raises Invalid: the network is for a domain, and so for all accounts there"""
    if network.domain_id is not None:
        raise Invalid(f"The network {network.name} is for all accounts of a domain; permissions are for networks with "
                      "the acltype Account.")  # fmt: skip
    return network


def _accounts(call: Call, given: Given) -> set[str]:
    """The ids of the accounts that are meant.

    :raises Invalid: none is, or the owner's domain has none of such a name
    """
    names = given.accounts or []
    domain = select(Account.domain_id).where(Account.id == given.networkid.account_id).scalar_subquery()
    query = select(Account).where(Account.domain_id == domain, Account.name.in_(names), Account.removed.is_(None))
    found = {account.name: account.id for account in call.session.scalars(query)} if names else {}
    for name in names:
        if name not in found:
            raise Invalid(f"The domain of the network {given.networkid.name} has no account {name}.")
    ids = {*found.values(), *(account.id for account in given.accountids or ())}
    ids |= {project.account_id for project in given.projectids or ()}
    if not ids:
        raise Invalid("No account is named: one of accounts, accountids and projectids must hold some.")
    return ids


def _take_back(call: Call, network: Network, ids: set[str]) -> None:
    """:raises Invalid: one of the accounts has a virtual machine in the network"""
    query = (
        select(Account.name, func.count(Vm.id))
        .join(Vm, Vm.account_id == Account.id)
        .join(Nic, Nic.vm_id == Vm.id)
        .where(Nic.network_id == network.id, Account.id.in_(ids - {network.account_id}))
        .group_by(Account.name)
        .order_by(Account.name)
    )
    row = call.session.execute(query).first()
    if row is not None:
        raise Invalid(f"The account {row[0]} has {row[1]} virtual machines in network {network.name}; they must leave "
                      "it first.")  # fmt: skip
    shares = delete(NetworkShare).where(NetworkShare.network_id == network.id, NetworkShare.account_id.in_(ids))
    write(call.session, shares)


class NetworkPermissionResponse(Response):
    object_key = "networkpermission"
    networkid = Str("the network's id")
    account = Str("the account that may use it")
    accountid = Str("that account's id")
    project = Str("the project that may use it, in place of the account")
    projectid = Str("that project's id")
    domainid = Str("the id of its domain")
    domain = Str("its domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[NetworkShare]) -> list[Shown]:
        query = (
            select(Account, Domain, Project.id, Project.name)
            .join(Domain, Domain.id == Account.domain_id)
            .outerjoin(Project, Project.account_id == Account.id)
            .where(Account.id.in_([row.account_id for row in rows]))
        )
        found = {
            account.id: {
                **owner_shown(account.name, project_id, project),
                "accountid": account.id if project_id is None else None,
                "domainid": domain.id,
                "domain": domain.name,
            }
            for account, domain, project_id, project in call.session.execute(query)
        }
        return [{"networkid": row.network_id, **found[row.account_id]} for row in rows]


@command("listNetworkPermissions", OneNetwork, NetworkPermissionResponse, roles=EVERYONE)
def list_network_permissions(call: Call, networkid: Network) -> Page:
    """List who may have virtual machines in a network, to those who manage it."""
    query = select(NetworkShare).where(NetworkShare.network_id == networkid.id)
    rows = call.session.scalars(query.order_by(NetworkShare.account_id)).all()
    return Page(list(rows), len(rows))
