"""Which networks a list shows: one's own ones, and those that others opened to accounts and domains."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, func, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import Given
from manager.models import Account, Domain, Network, NetworkOffering, NetworkShare, Project
from manager.network_access import opened

Condition = ColumnElement[bool]
FILTERS = ("Account", "Domain", "AccountDomain", "Shared", "All")


def listed(call: Call, which: str | None) -> Condition:
    """By CloudStack's networkfilter; networks for a domain are nobody's own."""
    own = access.visible(call, Network)
    wide, shared = Network.domain_id.is_not(None), and_(Network.domain_id.is_(None), _opened(call))
    alive = and_(Network.removed.is_(None), access.reach(call, Network, access.READ))
    by_domain = and_(alive, wide, or_(own, _opened(call)))
    kinds: dict[str, Condition] = {
        "Account": and_(own, ~wide),
        "Domain": by_domain,
        "AccountDomain": or_(and_(own, ~wide), by_domain),
        "Shared": and_(alive, shared),
        "All": or_(own, and_(alive, _opened(call))),
    }
    return kinds[which or "All"]


def _opened(call: Call) -> Condition:
    """What is open to those whose networks are asked for."""
    account, domain = _asked_for(call)
    near = Domain.id == domain.id
    if account is not None:
        return opened(NetworkShare.account_id == account.id, near, access.related(domain, below_too=False))
    if call.scope.recursive:
        near = access.below(domain)
    return opened(false(), near, access.related(domain, below_too=False))


def _asked_for(call: Call) -> tuple[Account | None, Domain]:
    """The account, in its domain, or the domain alone."""
    scope = call.scope
    if isinstance(scope.project, Project):
        account = call.session.get_one(Account, scope.project.account_id)
        return account, call.session.get_one(Domain, scope.project.domain_id)
    if scope.account is not None:
        return scope.account, call.session.get_one(Domain, scope.account.domain_id)
    return (None, scope.domain) if scope.domain is not None else (call.account, call.domain)


def of_kinds(given: Given) -> list[Condition]:
    """By the parameters type, acltype and specifyipranges of listNetworks."""
    found: list[Condition] = []
    if given.specifyipranges is not None:
        ranged = select(NetworkOffering.id).where(NetworkOffering.specify_ip_ranges.is_(given.specifyipranges))
        found.append(Network.offering_id.in_(ranged))
    if given.type:
        found.append(func.lower(Network.guest_type) == given.type.lower())
    if given.acltype:
        kinds = {"account": Network.domain_id.is_(None), "domain": Network.domain_id.is_not(None)}
        found.append(kinds.get(given.acltype.lower(), false()))
    return found


def of_key(text: str) -> Condition:
    """Networks with this tunnel key or VLAN; a VLAN of frames without a tag has the key 0."""
    plain = "0" if text.lower() == "untagged" else text
    return Network.key == int(plain) if plain.isdecimal() else false()
