"""Icons that things are shown with."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base
from manager.models.compute import LONG_TEXT


class ResourceIcon(Base):
    """The icon of a thing: `image` is a PNG, JPEG or GIF in base64. A thing has one, or none."""

    __tablename__ = "resource_icons"

    resource_id: Mapped[str] = mapped_column(ID, primary_key=True)
    resource_type: Mapped[str] = mapped_column(STATE)
    image: Mapped[str] = mapped_column(LONG_TEXT)
