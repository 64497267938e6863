"""Annotations: notes of users on things."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, or_, select

from manager import access
from manager.api.annotated import ENTITIES
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, command
from manager.api.errors import Denied, Invalid, unknown
from manager.api.fields import Choice, Flag, Ref, Text, Uuid
from manager.api.record import name_of
from manager.api.response import Bool, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import Annotation, User, utcnow

LONGEST = 4096
SELF, ALL = "self", "all"

KINDS = tuple(ENTITIES)


class AnnotationResponse(Response):
    object_key = "annotation"
    shows = Annotation
    id = Str("the annotation's id")
    entitytype = Str("the kind of thing that it is on")
    entityid = Str("the thing's id")
    entityname = Str("the thing's name")
    annotation = Str("the text")
    userid = Str("the id of the user that wrote it")
    username = Str("that user's name")
    adminsonly = Bool("whether root administrators alone see it")
    created = When("when it was written")
    removed = When("when it was removed")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Annotation]) -> list[Shown]:
        users = by_id(call, User, (row.user_id for row in rows))
        names = _names(call, rows)
        return [
            {
                "id": row.id,
                "entitytype": row.entity_type,
                "entityid": row.entity_id,
                "entityname": names.get(row.entity_id),
                "annotation": row.text,
                "userid": row.user_id,
                "username": users[row.user_id].username if row.user_id in users else None,
                "adminsonly": row.admins_only,
                "created": row.created,
                "removed": row.removed,
            }
            for row in rows
        ]


def _names(call: Call, rows: Sequence[Annotation]) -> dict[str, str]:
    """The names of the things by their ids, in as many statements as there are kinds among them."""
    kinds: dict[str, set[str]] = {}
    for row in rows:
        kinds.setdefault(row.entity_type, set()).add(row.entity_id)
    found: dict[str, str] = {}
    for kind, ids in kinds.items():
        if kind in ENTITIES:
            found |= {key: name_of(thing) for key, thing in by_id(call, ENTITIES[kind], ids).items()}
    return found


class AddAnnotation(Request):
    annotation = Text("the text", max_length=LONGEST, lines=True)
    entitytype = Choice("the kind of thing", KINDS)
    entityid = Text("the thing's id")
    adminsonly = Flag("whether root administrators alone see it; for those", default=False)


@command("addAnnotation", AddAnnotation, AnnotationResponse, roles=EVERYONE, event="ANNOTATION.ADD")
def add_annotation(call: Call, given: Given) -> Annotation:
    """Write a note on a thing of one's own; root administrators on any thing."""
    for name in ("annotation", "entitytype", "entityid"):
        if not getattr(given, name):
            raise Invalid(f"The parameter {name} is missing: a note needs a text, and the thing it is on.")
    if given.adminsonly and not call.is_root_admin:
        raise Denied("Only root administrators write annotations that they alone see.")
    thing = access.entity(call, ENTITIES[given.entitytype], "entityid", given.entityid, access.MANAGE)
    note = Annotation(
        entity_type=given.entitytype,
        entity_id=thing.id,
        text=given.annotation,
        user_id=call.user.id,
        admins_only=given.adminsonly,
    )
    stored: Annotation = call.add(note)
    return stored


class ListAnnotations(ListRequest):
    id = Uuid("only this annotation")
    entitytype = Choice("only those on this kind of thing", KINDS)
    entityid = Uuid("only those on this thing; needs entitytype")
    userid = Ref(User, "only those of this user")
    annotationfilter = Choice("self: only one's own; all: all that one may see", (SELF, ALL), default=ALL)


@command("listAnnotations", ListAnnotations, AnnotationResponse, roles=EVERYONE)
def list_annotations(call: Call, given: Given) -> Page:
    """List annotations on things that the caller may see."""
    if given.entityid is not None and given.entitytype is None:
        raise Invalid("The parameter entityid needs entitytype, which says what kind of thing it is.")
    query = select(Annotation).where(Annotation.removed.is_(None), _seen(call, given.entitytype))
    if given.id is not None:
        query = query.where(Annotation.id == given.id)
    if given.entityid is not None:
        query = query.where(Annotation.entity_id == given.entityid)
    if given.userid is not None:
        query = query.where(Annotation.user_id == given.userid.id)
    if given.annotationfilter == SELF:
        query = query.where(Annotation.user_id == call.user.id)
    if given.keyword:
        query = query.where(Annotation.text.contains(given.keyword, autoescape=True))
    return call.paged(query.order_by(Annotation.created.desc(), Annotation.id))


def _seen(call: Call, kind: str | None) -> ColumnElement[bool]:
    """Notes on things that the caller may read at this moment, whoever wrote them."""
    kinds = {kind: ENTITIES[kind]} if kind else ENTITIES
    if call.is_root_admin:
        return Annotation.entity_type.in_(kinds)
    reached = [
        and_(
            Annotation.entity_type == name,
            Annotation.entity_id.in_(select(model.id).where(access.reach(call, model, access.READ))),
        )
        for name, model in kinds.items()
    ]
    return and_(or_(*reached), Annotation.admins_only.is_(False))


class RemoveAnnotation(Request):
    id = Text("the annotation", required=True)


@command("removeAnnotation", RemoveAnnotation, AnnotationResponse, roles=EVERYONE, event="ANNOTATION.REMOVE")
def remove_annotation(call: Call, id: str) -> Annotation:
    """Remove a note of one's own; root administrators any note."""
    note = _own(call, id)
    note.removed = utcnow()
    return note


class UpdateAnnotationVisibility(Request):
    id = Text("the annotation", required=True)
    adminsonly = Flag("whether root administrators alone see it", required=True)


@command(
    "updateAnnotationVisibility",
    UpdateAnnotationVisibility,
    AnnotationResponse,
    event="ANNOTATION.UPDATE.VISIBILITY",
)
def update_annotation_visibility(call: Call, id: str, adminsonly: bool) -> Annotation:
    """Say whether root administrators alone see a note."""
    note = _own(call, id)
    note.admins_only = adminsonly
    return note


def _own(call: Call, identifier: str) -> Annotation:
    """The note of that id, if it is one that the caller may change.

    :raises ApiError: there is none for this caller
    """
    try:
        key = str(uuid.UUID(identifier))
    except ValueError:
        raise unknown(call.command, "id", identifier) from None
    query = select(Annotation).where(Annotation.id == key, Annotation.removed.is_(None), _seen(call, None))
    if not call.is_root_admin:
        query = query.where(Annotation.user_id == call.user.id)
    found = call.session.scalar(query)
    if found is None:
        raise unknown(call.command, "id", identifier)
    return found
