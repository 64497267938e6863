"""Packet captures of virtual machines' NICs."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, deferred, mapped_column

from manager.models.base import ID, STATE, Base, new_id, utcnow
from manager.secrets import SealedJson


class PacketCapture(Base):
    """A recording of the frames of a NIC on its host, and once it is Ready its pcap file. It goes with the NIC.

    `place` is one of those that its account has, `running` one of those of the host while it captures: both unique.
    `wanted` is what agents know of it (network.capture.CaptureSpec). It `ends` then, or when it is stopped. `content`
    is the file in base64.
    """

    __tablename__ = "packet_captures"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    nic_id: Mapped[str] = mapped_column(ForeignKey("nics.id", ondelete="CASCADE"), index=True)
    vm_id: Mapped[str] = mapped_column(ID, index=True)
    host_id: Mapped[str] = mapped_column(ID)
    place: Mapped[str] = mapped_column(String(64), unique=True)
    running: Mapped[str | None] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(STATE, default="Capturing")
    wanted: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ends: Mapped[dt.datetime | None]
    expires: Mapped[dt.datetime | None] = mapped_column(index=True)
    packets: Mapped[int] = mapped_column(default=0)
    dropped: Mapped[int] = mapped_column(default=0)
    size: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None]
    content: Mapped[str | None] = deferred(mapped_column(SealedJson))
