"""Who may use networks that are not their own: shared ones by domain, any by permission."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from manager.models import Account, Domain, Network, NetworkShare

Condition = ColumnElement[bool]


def opened(accounts: Condition, own: Condition, around: Condition) -> Condition:
    """The networks that others opened to the accounts which meet `accounts`, a condition on NetworkShare, or to the
    domains which meet `own`; those for the domains of `around` alone where they are for all below as well.
    """
    shared = select(NetworkShare.network_id).where(accounts).correlate(None)
    near = select(Domain.id).where(own).correlate(None)
    wide = select(Domain.id).where(around).correlate(None)
    below = and_(Network.subdomain_access.is_(True), Network.domain_id.in_(wide))
    return or_(Network.id.in_(shared), Network.domain_id.in_(near), below)


def may_use(session: Session, network: Network, account: Account) -> bool:
    """Whether the account's virtual machines may be in the network; its own ones cost no statement."""
    if network.account_id == account.id:
        return True
    if network.domain_id is not None:
        home = session.get_one(Domain, account.domain_id)
        if network.domain_id == home.id:
            return True
        top = session.get_one(Domain, network.domain_id)
        return network.subdomain_access and home.path.startswith(top.path)
    share = select(NetworkShare.account_id).filter_by(network_id=network.id, account_id=account.id)
    return session.scalar(share) is not None
