"""How people enter whose passwords others keep: OAuth providers with codes that they redeemed, and LDAP servers."""

from __future__ import annotations

from sqlalchemy import Double, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id
from manager.secrets import Sealed


class OauthProvider(Entity, Base):
    """An OpenID provider whose word on its users' e-mail addresses counts. `issuer` is its identifier, an https URL."""

    __tablename__ = "oauth_providers"

    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text)
    issuer: Mapped[str] = mapped_column(Text)
    client_id: Mapped[str]
    secret_key: Mapped[str] = mapped_column(Sealed)
    redirect_uri: Mapped[str] = mapped_column(Text)
    is_enabled: Mapped[bool] = mapped_column(default=True)


class OauthCode(Base):
    """A code that the provider has redeemed and that a login may use once, until `expires` (database clock).

    `code_hash` is SHA-256, so that a copy of the table opens nothing.
    """

    __tablename__ = "oauth_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    provider_id: Mapped[str] = mapped_column(ID, ForeignKey("oauth_providers.id"))
    email: Mapped[str]
    expires: Mapped[float] = mapped_column(Double(), index=True)


class LdapServer(Entity, Base):
    """A server of a directory: that of a domain, or of all that have none. Those of one domain stand for each other."""

    __tablename__ = "ldap_servers"

    hostname: Mapped[str]
    port: Mapped[int]
    domain_id: Mapped[str | None] = mapped_column(ForeignKey("domains.id"), index=True)


class LdapLink(Base):
    """Who is in `place` (DN) of the directory, a GROUP or an OU, may enter a domain, and gets an account at the first
    login; or, with `account_id`, becomes a user of that account. `linked` is the id of the domain or account: one link
    each.
    """

    __tablename__ = "ldap_links"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    linked: Mapped[str] = mapped_column(ID, unique=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    kind: Mapped[str] = mapped_column(STATE)
    place: Mapped[str] = mapped_column(Text)
    account_type: Mapped[int]
