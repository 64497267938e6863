"""Public addresses in quarantine: released ones that are for nobody but the account that had them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import select, update

from manager import access
from manager.api.call import Call
from manager.api.command import ADMINS, ListRequest, Page, Request, command
from manager.api.errors import Invalid, missing, unknown
from manager.api.fields import Date, Flag, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id
from manager.db import write
from manager.models import Account, PublicAddress, Quarantine, utcnow
from manager.placement.quarantine import lift

EVENT = "NET.IPUPDATE"


class QuarantineResponse(Response):
    object_key = "quarantinedips"
    shows = Quarantine
    id = Str("the quarantine's id")
    ipaddress = Str("the public address")
    previousownerid = Str("the id of the account that had it, which may have it again")
    previousownername = Str("that account's name")
    created = When("when it was released")
    enddate = When("when the quarantine ends")
    removed = When("when it was ended before")
    removalreason = Str("why it was ended before")
    removeraccountid = Str("the id of the account that ended it before")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Quarantine]) -> list[Shown]:
        owners = by_id(call, Account, (row.account_id for row in rows))
        return [
            {
                "id": row.id,
                "ipaddress": row.address,
                "previousownerid": row.account_id,
                "previousownername": owners[row.account_id].name,
                "created": row.created,
                "enddate": row.ends,
                "removed": row.lifted,
                "removalreason": row.reason,
                "removeraccountid": row.remover_id,
            }
            for row in rows
        ]


class ListQuarantined(ListRequest):
    showremoved = Flag("also those that were ended before their time", default=False)
    showinactive = Flag("also those whose time is over", default=False)


@command("listQuarantinedIps", ListQuarantined, QuarantineResponse, roles=ADMINS)
def list_quarantined_ips(call: Call, showremoved: bool, showinactive: bool, keyword: str | None) -> Page:
    """List public addresses that are in quarantine."""
    query = select(Quarantine).where(access.reach(call, Quarantine, access.READ))
    if not showremoved:
        query = query.where(Quarantine.lifted.is_(None))
    if not showinactive:
        query = query.where(Quarantine.ends > utcnow())
    if keyword:
        query = query.where(Quarantine.address.contains(keyword, autoescape=True))
    return call.paged(query.order_by(Quarantine.created, Quarantine.id))


class OneQuarantine(Request):
    id = Ref(Quarantine, "the quarantine", right="manage")
    ipaddress = Text("the public address, where no id is given")


class UpdateQuarantine(OneQuarantine):
    enddate = Date("when it ends from now on, which is yet to come", required=True)


@command("updateQuarantinedIp", UpdateQuarantine, QuarantineResponse, roles=ADMINS, event=EVENT)
def update_quarantined_ip(call: Call, id: Quarantine | None, ipaddress: str | None, enddate: dt.datetime) -> Quarantine:
    """Have a quarantine end sooner or later."""
    found = _going_on(call, id, ipaddress)
    if enddate <= utcnow():
        raise Invalid(
            f"The enddate {enddate:%Y-%m-%dT%H:%M:%S%z} is over; removeQuarantinedIp ends a quarantine at once."
        )
    found.ends = enddate
    same = (PublicAddress.id == found.address_id) & (PublicAddress.quarantined_for == found.account_id)
    write(call.session, update(PublicAddress).where(same).values(quarantined_until=enddate))
    return found


class RemoveQuarantine(OneQuarantine):
    removalreason = Text("why it is ended", required=True)


@command("removeQuarantinedIp", RemoveQuarantine, SuccessResponse, roles=ADMINS, event=EVENT)
def remove_quarantined_ip(call: Call, id: Quarantine | None, ipaddress: str | None, removalreason: str) -> bool:
    """End a quarantine: the public address is free for everybody."""
    found = _going_on(call, id, ipaddress)
    call.subject = found
    lift(call.session, found.address_id, removalreason, call.account.id)
    return True


def _going_on(call: Call, found: Quarantine | None, text: str | None) -> Quarantine:
    """:raises ApiError: neither an id nor an address is given, or it is not in quarantine any more"""
    if found is None:
        if not text:
            raise missing(call.command, "id")
        query = select(Quarantine).where(Quarantine.address == text, Quarantine.current.is_not(None))
        rows = call.session.scalars(query.where(access.reach(call, Quarantine, access.MANAGE)).limit(2)).all()
        if len(rows) != 1:
            raise unknown(call.command, "ipaddress", text)
        found = rows[0]
    if found.current is None or found.ends <= utcnow():
        raise Invalid(f"The public address {found.address} is not in that quarantine any more.")
    return found
