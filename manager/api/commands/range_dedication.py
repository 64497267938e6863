"""Ranges of public addresses that are kept for one account, or for a domain and all below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update

from manager import access
from manager.api.call import Call
from manager.api.command import Given, Request
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Shown
from manager.api.rows import owner_shown
from manager.db import write
from manager.models import Account, Dedication, Domain, Project, PublicAddress, VlanIpRange, new_id


class KeptFor(Request):
    domainid = Ref(Domain, "the domain that the range is kept for, with all below it")
    account = Text("the one account of that domain that it is kept for")
    projectid = Ref(Project, "the one project that it is kept for")


def keep_range(call: Call, span: VlanIpRange, given: Given) -> None:
    """Keep the range for the domain, account or project of the parameters.

    :raises Invalid: these do not fit together, it is dedicated already, or others have some of its addresses
    """
    domain, account_id = _keeper(call, given)
    row = Dedication(
        id=new_id(),
        resource_id=span.id,
        resource_type=VlanIpRange.__name__,
        domain_id=domain.id,
        account_id=account_id,
    )
    call.add(row, taken=f"The range {span.start_ip}-{span.end_ip} is dedicated already; release it first.")
    mine = PublicAddress.range_id == span.id
    write(call.session, update(PublicAddress).where(mine).values(dedication_id=row.id))
    query = (
        select(PublicAddress.address)
        .join(Account, Account.id == PublicAddress.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(mine, Account.id != account_id if account_id is not None else ~access.below(domain))
    )
    found = call.session.scalar(query.order_by(PublicAddress.address).limit(1))
    if found is not None:
        raise Invalid(f"The range {span.start_ip}-{span.end_ip} cannot be dedicated: another account or domain has its "
                      f"address {found}.")  # fmt: skip


def _keeper(call: Call, given: Given | Mapping[str, Any]) -> tuple[Domain, str | None]:
    """The domain and, where it is for one alone, the account.

    :raises Invalid: the parameters do not say one of them, or the project is in another domain
    """
    domain, account, project = (
        getattr(given, name) if isinstance(given, Given) else given[name]
        for name in ("domainid", "account", "projectid")
    )
    if account and project is not None:
        raise Invalid("The parameters account and projectid exclude each other.")
    if domain is None:
        raise Invalid("The parameter domainid is missing: it says where the account or project is.")
    if project is None:
        return domain, access.owner(call, account, domain).id if account else None
    if project.domain_id != domain.id:
        raise Invalid(f"The project {project.name} is not in the domain {domain.shown_path}.")
    return domain, project.account_id


def release_range(call: Call, span: VlanIpRange) -> None:
    """Open the range to everyone; who has addresses of it keeps them.

    :raises Invalid: it is not dedicated
    """
    if not write(call.session, delete(Dedication).where(Dedication.resource_id == span.id)):
        raise Invalid(f"The range {span.start_ip}-{span.end_ip} is not dedicated.")
    write(call.session, update(PublicAddress).where(PublicAddress.range_id == span.id).values(dedication_id=None))


def kept_for(call: Call, filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Conditions on VlanIpRange by the parameters of `KeptFor`; none when none of these is given."""
    if filters["domainid"] is None and not filters["account"] and filters["projectid"] is None:
        return []
    if filters["projectid"] is not None and not filters["account"]:
        filters = {**filters, "domainid": filters["domainid"] or _domain_of(call, filters["projectid"])}
    domain, account_id = _keeper(call, filters)
    wanted = Dedication.account_id == account_id if account_id is not None else Dedication.domain_id == domain.id
    return [VlanIpRange.id.in_(select(Dedication.resource_id).where(wanted))]


def _domain_of(call: Call, project: Project) -> Domain:
    return call.session.get_one(Domain, project.domain_id)


def keepers_of(call: Call, rows: Sequence[VlanIpRange]) -> dict[str, Shown]:
    """By range id: account or project, domainid, domain and domainpath that it is kept for; one statement."""
    query = (
        select(Dedication.resource_id, Account.name, Project.id, Project.name, Domain)
        .join(Domain, Domain.id == Dedication.domain_id)
        .outerjoin(Account, Account.id == Dedication.account_id)
        .outerjoin(Project, Project.account_id == Account.id)
        .where(Dedication.resource_id.in_([row.id for row in rows]))
    )
    found: dict[str, Shown] = {row.id: {} for row in rows}
    for key, account, project_id, project, domain in call.session.execute(query):
        found[key] = {
            **owner_shown(account, project_id, project),
            "domainid": domain.id,
            "domain": domain.name,
            "domainpath": domain.shown_path,
        }
    return found
