"""Parts that many responses show: who owns a thing, its tags, names of what it refers to. One statement each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.models import Account, Domain, Project, Tag


def owners_of(call: Call, rows: Iterable[Any], *, path: bool = False) -> dict[str | None, dict[str, Any]]:
    """By account id: account, or project and projectid; domainid, domain (and domainpath with `path`) of the owners.

    A row without an owner has an empty entry under None.
    """
    ids = {row.account_id for row in rows} - {None}
    found: dict[str | None, dict[str, Any]] = {None: {}}
    if ids <= {call.account.id}:
        owners: Iterable[Any] = [(call.account, call.domain, None)] if ids else []
    else:
        query = (
            select(Account, Domain, Project)
            .join(Domain, Domain.id == Account.domain_id)
            .outerjoin(Project, Project.account_id == Account.id)
        )
        owners = call.session.execute(query.where(Account.id.in_(ids)))
    for account, domain, project in owners:
        found[account.id] = {
            **owner_shown(account.name, project.id if project else None, project.name if project else None),
            "domainid": domain.id,
            "domain": domain.name,
        }
        if path:
            found[account.id]["domainpath"] = domain.shown_path
    return found


def owner_shown(account: str, project_id: str | None, project: str | None) -> dict[str, str | None]:
    """The owner as responses show it: a project in place of the account that stands for it."""
    return {"account": account} if project_id is None else {"projectid": project_id, "project": project}


def tags_of(call: Call, rows: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    """By resource id: the tags of the rows, as responses show them; [] for a row that has none."""
    found: dict[str, list[dict[str, Any]]] = {row.id: [] for row in rows}
    tags = _tags(call, found)
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


def bare_tags_of(call: Call, rows: Sequence[Any]) -> dict[str, list[dict[str, str]]]:
    """As `tags_of`, with nothing but key and value: CloudStack's networks, public addresses and rules show them so.

    Ansible's cs_ip_address looks for a tag that is equal to {key, value}.
    """
    found: dict[str, list[dict[str, str]]] = {row.id: [] for row in rows}
    for tag in _tags(call, found):
        found[tag.resource_id].append({"key": tag.key, "value": tag.value})
    return found


def _tags(call: Call, ids: Iterable[str]) -> Sequence[Tag]:
    return call.session.scalars(select(Tag).where(Tag.resource_id.in_(ids)).order_by(Tag.key)).all()


def by_id(call: Call, model: type[Any], ids: Iterable[Any]) -> dict[Any, Any]:
    """The rows of `model` with these ids, by id; None among the ids is passed over. No statement for no ids."""
    wanted = set(ids) - {None}
    if not wanted:
        return {}
    return {row.id: row for row in call.session.scalars(select(model).where(model.id.in_(wanted)))}
