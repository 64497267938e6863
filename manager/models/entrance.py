"""How people enter whose passwords others keep: OAuth providers, and codes of theirs that were redeemed."""

from __future__ import annotations

from sqlalchemy import Double, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, Base, Entity
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
