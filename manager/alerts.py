"""Alerts: troubles that operators are told of, one open alert a cause."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager.models import Alert, meters, utcnow

MEMORY, CPU, STORAGE, STORAGE_ALLOCATED, PUBLIC_IP, SECONDARY_STORAGE = 0, 1, 2, 3, 4, 6
HOST, ROUTER, MANAGEMENT, SYNC = 7, 9, 14, 27
ONCE = "once"
"""The family of troubles that happen rather than last; `tell` raises them."""

TYPES: dict[int, str] = {
    MEMORY: "ALERT.MEMORY",
    CPU: "ALERT.CPU",
    STORAGE: "ALERT.STORAGE",
    STORAGE_ALLOCATED: "ALERT.STORAGE.ALLOCATED",
    PUBLIC_IP: "ALERT.NETWORK.PUBLICIP",
    SECONDARY_STORAGE: "ALERT.STORAGE.SECONDARY",
    HOST: "ALERT.COMPUTE.HOST",
    ROUTER: "ALERT.SERVICE.DOMAINROUTER",
    MANAGEMENT: "ALERT.MANAGEMENT",
    SYNC: "ALERT.TYPE.SYNC",
}
"""CloudStack's numbers and names of the kinds that Pileus raises."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """`cause` is the same as long as it is the same trouble; its part before the first colon is its family."""

    cause: str
    type: int
    description: str
    zone_id: str | None = None
    pod_id: str | None = None

    def alert(self, sent: dt.datetime | None) -> Alert:
        return Alert(
            open=self.cause[:200],
            type=self.type,
            name=TYPES[self.type],
            description=self.description,
            zone_id=self.zone_id,
            pod_id=self.pod_id,
            sent=sent,
        )


def tell(session: Session, trouble: Trouble) -> bool:
    """Raise an alert that stays open until an operator puts it away; False where one of that cause is open."""
    if session.scalar(select(Alert.number).filter_by(open=trouble.cause[:200])) is not None:
        return False
    try:
        meters.settle(session)
        with session.begin_nested():
            session.add(trouble.alert(utcnow()))
    except IntegrityError:
        return False
    return True


def settle(session: Session, family: str, troubles: Iterable[Trouble], patience: float = 0.0) -> None:
    """Make the open alerts of `family` those of `troubles`, which are all of it that there are at this moment.

    An alert is sent when its trouble has lasted `patience` seconds; one that passes before is forgotten.
    """
    held = session.scalars(select(Alert).where(Alert.open.startswith(f"{family}:", autoescape=True))).all()
    known = {alert.open: alert for alert in held}
    now = utcnow()
    for trouble in troubles:
        alert = known.pop(trouble.cause[:200], None)
        if alert is None:
            session.add(trouble.alert(None if patience else now))
        else:
            alert.description = trouble.description
            if alert.sent is None and alert.created <= now - dt.timedelta(seconds=patience):
                alert.sent = now
    for alert in known.values():
        if alert.sent is None:
            session.delete(alert)
        else:
            alert.open, alert.resolved = None, now
