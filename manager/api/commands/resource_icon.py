"""Icons of things: pictures that portals show them with."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from sqlalchemy import delete, select

from manager import access
from manager.api.annotated import ICONED
from manager.api.call import Call
from manager.api.command import EVERYONE, Page, Request, SuccessResponse, command
from manager.api.errors import Invalid
from manager.api.fields import ListOf, Text, Uuid
from manager.api.raster import size_of
from manager.api.response import IconResponse
from manager.db import write
from manager.models import ResourceIcon

LARGEST = 64 * 2**10
WIDEST = 1024
IN_BASE64 = 4 * LARGEST // 3 + 4
KINDS = {name.lower(): name for name in ICONED}
MOST_THINGS = 100


class OfThings(Request):
    resourcetype = Text(f"the kind of things: {', '.join(ICONED)}", required=True)
    resourceids = ListOf(Uuid("a thing"), "the things", required=True, most=MOST_THINGS)


class UploadIcon(OfThings):
    base64image = Text(
        f"a PNG, JPEG or GIF in base64, of at most {LARGEST // 2**10} KiB and {WIDEST} by {WIDEST} pixels",
        required=True, max_length=IN_BASE64, lines=True,
    )  # fmt: skip


def _things(call: Call, kind: str, ids: list[str], right: str) -> tuple[str, list[Any]]:
    """The kind as icons store it, and the things.

    :raises ApiError: nothing of that kind has icons, or the caller has not that right to one of them
    """
    name = KINDS.get(kind.lower())
    if name is None:
        raise Invalid(f"There are no icons of {kind}; the resource type is one of {', '.join(ICONED)}.")
    if not ids:
        raise Invalid("The parameter resourceids names nothing.")
    return name, access.entities(call, ICONED[name], "resourceids", list(dict.fromkeys(ids)), right)


def _checked(text: str) -> str:
    """The picture in base64 without line breaks or what browsers put before it.

    :raises Invalid: no base64, no picture, or too large a one
    """
    plain = "".join(text.split()).rpartition(";base64,")[2]
    try:
        image = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("The base64image is not base64.") from None
    if len(image) > LARGEST:
        raise Invalid(f"The image has {len(image)} bytes; at most {LARGEST} are possible.")
    size = size_of(image)
    if size is None:
        raise Invalid("The base64image is no whole PNG, JPEG or GIF.")
    if max(size) > WIDEST:
        raise Invalid(f"The image has {size[0]} by {size[1]} pixels; at most {WIDEST} by {WIDEST} are possible.")
    return plain


@command("uploadResourceIcon", UploadIcon, SuccessResponse, roles=EVERYONE, event="RESOURCE.ICON.UPLOAD")
def upload_resource_icon(call: Call, resourcetype: str, resourceids: list[str], base64image: str) -> bool:
    """Give things an icon, in place of the one that they have."""
    image = _checked(base64image)
    kind, things = _things(call, resourcetype, resourceids, access.MANAGE)
    call.subject = things[0]
    for thing in things:
        call.session.merge(ResourceIcon(resource_id=thing.id, resource_type=kind, image=image))
    call.flush(taken="Another gives one of the things an icon at this moment; try again.")
    return True


@command("deleteResourceIcon", OfThings, SuccessResponse, roles=EVERYONE, event="RESOURCE.ICON.DELETE")
def delete_resource_icon(call: Call, resourcetype: str, resourceids: list[str]) -> bool:
    """Take the icons off things."""
    _, things = _things(call, resourcetype, resourceids, access.MANAGE)
    call.subject = things[0]
    write(call.session, delete(ResourceIcon).where(ResourceIcon.resource_id.in_([thing.id for thing in things])))
    return True


@command("listResourceIcon", OfThings, IconResponse, roles=EVERYONE)
def list_resource_icon(call: Call, resourcetype: str, resourceids: list[str]) -> Page:
    """List the icons of things."""
    _, things = _things(call, resourcetype, resourceids, access.READ)
    query = select(ResourceIcon).where(ResourceIcon.resource_id.in_([thing.id for thing in things]))
    rows = call.session.scalars(query.order_by(ResourceIcon.resource_id)).all()
    return Page(rows, len(rows))
