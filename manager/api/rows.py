"""Parts that many responses show: who owns a thing, its tags, names of what it refers to. One statement each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.models import Account, Domain, Tag


def owners_of(call: Call, rows: Iterable[Any], *, path: bool = False) -> dict[str | None, dict[str, Any]]:
    """By account id: account, domainid, domain (and domainpath with `path`) of the rows' owners.

    A row without an owner has an empty entry under None.
    """
    ids = {row.account_id for row in rows} - {None}
    found: dict[str | None, dict[str, Any]] = {None: {}}
    if ids <= {call.account.id}:
        pairs: Iterable[Any] = [(call.account, call.domain)] if ids else []
    else:
        query = select(Account, Domain).join(Domain, Domain.id == Account.domain_id).where(Account.id.in_(ids))
        pairs = call.session.execute(query)
    for account, domain in pairs:
        found[account.id] = {"account": account.name, "domainid": domain.id, "domain": domain.name}
        if path:
            found[account.id]["domainpath"] = domain.shown_path
    return found


def tags_of(call: Call, rows: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    """By resource id: the tags of the rows, as responses show them; [] for a row that has none."""
    found: dict[str, list[dict[str, Any]]] = {row.id: [] for row in rows}
    tags = call.session.scalars(select(Tag).where(Tag.resource_id.in_(found)).order_by(Tag.key)).all()
    owners = owners_of(call, tags)
    for tag in tags:
        found[tag.resource_id].append(
            {
                "key": tag.key,
                "value": tag.value,
                "resourcetype": tag.resource_type,
                "resourceid": tag.resource_id,
                **owners[tag.account_id],
            }
        )
    return found


def by_id(call: Call, model: type[Any], ids: Iterable[Any]) -> dict[Any, Any]:
    """The rows of `model` with these ids, by id; None among the ids is passed over. No statement for no ids."""
    wanted = set(ids) - {None}
    if not wanted:
        return {}
    return {row.id: row for row in call.session.scalars(select(model).where(model.id.in_(wanted)))}
