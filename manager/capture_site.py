"""Hands out the files of packet captures: /client/capture/<token> is a link that only this cloud makes, for some time.

Who has the link has the file, as with a link to a template; the token names the capture and says until when.
"""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import msgspec
from cryptography.exceptions import InvalidTag
from flask import Blueprint, Response
from sqlalchemy import Engine
from sqlalchemy.orm import undefer

from manager.db import transaction
from manager.models import PacketCapture
from manager.secrets import seal, unseal

PATH = "/client/capture"
LINK_SECONDS = 3600
PCAP = "application/vnd.tcpdump.pcap"
GONE = 404
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Link(msgspec.Struct, frozen=True):
    """What a token says; `until` in seconds since 1970."""

    capture_id: str
    until: float


def url_of(capture: PacketCapture) -> str:
    """The path of the capture's file on any management server."""
    link = Link(capture.id, time.time() + LINK_SECONDS)
    return f"{PATH}/{quote(seal(msgspec.json.encode(link).decode()).translate(_TO_URL), safe='')}"


_TO_URL, _FROM_URL = str.maketrans("+/", "-_"), str.maketrans("-_", "+/")


def blueprint(engine: Engine | None) -> Blueprint:
    site = Blueprint("capture", __name__)

    def give(token: str) -> Response:
        response = _file(token, engine)
        response.headers.update(_HEADERS)
        return response

    site.add_url_rule(f"{PATH}/<token>", "capture", give, methods=["GET"])
    return site


def _file(token: str, engine: Engine | None) -> Response:
    try:
        link = msgspec.json.decode(unseal(token.translate(_FROM_URL)), type=Link)
    except (InvalidTag, ValueError, msgspec.MsgspecError):
        return _none()
    with transaction(engine) as session:
        capture = session.get(PacketCapture, link.capture_id, options=[undefer(PacketCapture.content)])
        content = capture.content if capture is not None else None
    if content is None or link.until < time.time():
        return _none()
    response = Response(base64.b64decode(content), content_type=PCAP)
    response.headers["Content-Disposition"] = f'attachment; filename="{link.capture_id}.pcap"'
    return response


def _none() -> Response:
    text = "There is no such file, or the link is too old; listPacketCaptures gives a new one.\n"
    return Response(text, GONE, mimetype="text/plain")
