"""Who may log in at all, however it is proved who he is."""

from __future__ import annotations

from sqlalchemy import Select, select

from manager.models import Account, Domain, User


def domain_path(text: str) -> str:
    """The path of a domain as it is kept, of any of the forms in which it is given."""
    path = "/" + text.strip("/")
    return path if path == "/" else path + "/"


def users_of(path: str, domain_id: str | None) -> Select[User, Account, Domain]:
    """The users of the domain of that id or path, whether they may log in or not, with account and domain."""
    query = (
        select(User, Account, Domain)
        .join(Account, Account.id == User.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(User.removed.is_(None), Domain.removed.is_(None))
    )
    return query.where(Domain.id == domain_id) if domain_id else query.where(Domain.path == path)


def admitted(path: str, domain_id: str | None) -> Select[User, Account, Domain]:
    """Those of them who may log in."""
    are_open = (User.state == "enabled", Account.state == "enabled", Domain.state == "Active")
    return users_of(path, domain_id).where(Account.removed.is_(None), *are_open)
