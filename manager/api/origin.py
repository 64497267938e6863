"""From where a call comes: the address behind trusted proxies, and whether an account or a key may call from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy.orm import Session

from manager.api.wire import Incoming
from manager.cidrs import address_of, is_in
from manager.configuration import SETTINGS, value
from manager.models import Account

EVERYWHERE = SETTINGS["api.allowed.source.cidr.list"].default
"""What also those match whose address is not known, as they come by a Unix socket."""

log = structlog.get_logger()


def located(session: Session, request: Incoming) -> Incoming:
    """The request with the address that the proxies of proxy.cidr tell; what others tell counts for nothing.

    A proxy adds the address of its peer at the end of the header: read from there, the first address that is no
    trusted proxy's is the caller's, whatever the caller itself had put before it.
    """
    if not value(session, "proxy.header.verify"):
        return request
    trusted = value(session, "proxy.cidr")
    if not is_in(address_of(request.source), trusted):
        return request
    for name in value(session, "proxy.header.names").split(","):
        told = request.headers.get(name.strip().lower())
        if told:
            return replace(request, source=_first_untrusted(request.source, told, trusted))
    return request


def _first_untrusted(peer: str, told: str, trusted: str) -> str:
    """The last address in `told` that is not in `trusted`; where a text is no address, the proxy that passed it on."""
    found = peer
    for text in reversed(told.split(",")):
        address = address_of(text)
        if address is None:
            return found
        found = str(address)
        if not is_in(address, trusted):
            return found
    return found


def may_call(session: Session, account: Account, source: str, own: Sequence[str] = ()) -> bool:
    """Whether calls of the account may come from `source`; `own` are the only CIDRs of a key, where it has any."""
    address = address_of(source)
    if value(session, "api.source.cidr.checks.enabled"):
        allowed = value(session, "api.allowed.source.cidr.list", account)
        if allowed != EVERYWHERE and not is_in(address, allowed):
            log.info("call from a source that is not allowed", account=account.id, source=source, allowed=allowed)
            return False
    if own and not is_in(address, ",".join(own)):
        log.info("key used from a source that is not allowed", account=account.id, source=source, allowed=list(own))
        return False
    return True
