"""What a command answers: declared fields, and one bulk rendering of many rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Select, false, literal, select, union_all

from manager.api.annotated import ICON_KINDS, KIND_OF
from manager.models import Annotation, ResourceIcon, WorkflowRow

if TYPE_CHECKING:
    from manager.api.call import Call

Shown = dict[str, Any]
_NONE: frozenset[str] = frozenset()
_PLAIN = frozenset({str, int, bool, float})


@dataclass(frozen=True)
class Out:
    """A field of a response. `nested` is the response of the objects in it; `root_only` hides it from others."""

    kind: str
    description: str
    nested: type[Response] | None = None
    root_only: bool = False


def Str(description: str, **options: Any) -> Out:  # noqa: N802 - it reads as a type where fields are declared
    return Out("string", description, **options)


def Int(description: str, **options: Any) -> Out:  # noqa: N802 - as above
    return Out("integer", description, **options)


def Long(description: str, **options: Any) -> Out:  # noqa: N802 - as above
    return Out("long", description, **options)


def Float(description: str, **options: Any) -> Out:  # noqa: N802 - as above
    return Out("float", description, **options)


def Bool(description: str, **options: Any) -> Out:  # noqa: N802 - as above
    return Out("boolean", description, **options)


def When(description: str, **options: Any) -> Out:  # noqa: N802 - as above
    """A time; renderers put the aware datetime itself."""
    return Out("date", description, **options)


def Many(description: str, nested: type[Response] | None = None, **options: Any) -> Out:  # noqa: N802 - as above
    """A list of objects of `nested`, or of plain values."""
    return Out("list", description, nested=nested, **options)


def Map(description: str, **options: Any) -> Out:  # noqa: N802 - as above
    return Out("map", description, **options)


OWNER = {
    "account": Str("the account that owns it"),
    "projectid": Str("the id of the project that owns it, in place of the account"),
    "project": Str("the project that owns it"),
    "domainid": Str("the id of the owner's domain"),
    "domain": Str("the owner's domain"),
    "domainpath": Str("the path of the owner's domain"),
}


class Response:
    """Base of all responses.

    `shows` is the model whose rows it renders (jobs and `related` find it so). With `has_jobs`, a row with an open
    job carries its jobid and jobstatus. What `is_owned` shows its owner, as rows.owners_of gives it with the path.
    Rows of what can have annotations tell whether the caller could read one.
    """

    object_key: ClassVar[str] = ""
    shows: ClassVar[type[Any] | None] = None
    has_jobs: ClassVar[bool] = False
    is_owned: ClassVar[bool] = False
    fields: ClassVar[dict[str, Out]] = {}
    _hidden: ClassVar[frozenset[str]] = frozenset()
    _hidden_within: ClassVar[dict[str, frozenset[str]]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: out for name, out in vars(cls).items() if isinstance(out, Out)}
        bases = [base.fields for base in reversed(cls.__bases__) if issubclass(base, Response)]
        together = (*bases, vars(cls).get("fields", {}), own)
        cls.fields = {name: out for fields in together for name, out in fields.items()}
        if cls.is_owned:
            cls.fields |= OWNER
        if cls.shows in KIND_OF:
            cls.fields["hasannotations"] = Bool("whether there are annotations on it")
        if cls.shows in ICON_KINDS:
            cls.fields["icon"] = Map("its icon, where showicon asks for it", nested=IconResponse)
        cls._hidden = frozenset(name for name, out in cls.fields.items() if out.root_only)
        nested = {name: out.nested for name, out in cls.fields.items() if out.nested is not None}
        cls._hidden_within = {name: response._hidden for name, response in nested.items()}  # noqa: SLF001 - its own class

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        """A dict of each row, with a fixed number of SQL statements however many rows there are."""
        raise NotImplementedError

    @classmethod
    def shown(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        """The rows as they go out: without what is None or hidden from the caller, times as text, open jobs."""
        if not rows:
            return []
        hidden, within = (_NONE, {}) if call.is_root_admin else (cls._hidden, cls._hidden_within)
        found = [_clean(row, hidden, within) for row in cls.render(call, rows)]
        kind = None if "hasannotations" in found[0] else KIND_OF.get(cls.shows)
        if cls.has_jobs or kind is not None:
            _mark(call, found, kind, has_jobs=cls.has_jobs)
        if call.shows_icons and cls.shows in ICON_KINDS:
            _add_icons(call, found)
        return found


class IconResponse(Response):
    object_key = "icon"
    resourceid = Str("the id of the thing")
    resourcetype = Str("the kind of thing")
    base64image = Str("the picture in base64")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[ResourceIcon]) -> list[Shown]:
        return [
            {"resourceid": row.resource_id, "resourcetype": row.resource_type, "base64image": row.image} for row in rows
        ]


class SuccessResponse(Response):
    success = Bool("true when the command is done")
    displaytext = Str("what there is to say about it")


def when(time: dt.datetime) -> str:
    """As CloudStack writes times: 2026-01-31T23:59:59+0000."""
    text = time.isoformat(timespec="seconds")
    return text[:-3] + text[-2:]


def _clean(row: Shown, hidden: frozenset[str], within: Mapping[str, frozenset[str]]) -> Shown:
    """`within` has what is hidden of the objects in a field of the row."""
    out: Shown = {}
    for name, value in row.items():
        kind = type(value)
        if kind in _PLAIN:
            out[name] = value
        elif value is None:
            continue
        elif kind is list:
            hidden_there = within.get(name, _NONE)
            out[name] = [_clean(v, hidden_there, {}) if type(v) is dict else v for v in value]
        elif kind is dict:
            out[name] = _clean(value, _NONE, {})
        else:
            out[name] = when(value) if kind is dt.datetime else value
    for name in hidden:
        out.pop(name, None)
    return out


def _mark(call: Call, rows: list[Shown], kind: str | None, *, has_jobs: bool) -> None:
    """Add what is known of the rows besides themselves: open jobs, and whether there are annotations. One statement."""
    ids = [row["id"] for row in rows]
    parts: list[Select[str, str, str]] = []
    if has_jobs:
        jobs = select(literal("job").label("sort"), WorkflowRow.subject_id.label("thing_id"), WorkflowRow.id)
        open_ones = (WorkflowRow.status == "running", WorkflowRow.command != "")
        parts.append(jobs.where(WorkflowRow.subject_id.in_(ids), *open_ones))
    if kind is not None:
        notes = select(literal("note").label("sort"), Annotation.entity_id.label("thing_id"), Annotation.id)
        notes = notes.where(Annotation.entity_type == kind, Annotation.entity_id.in_(ids), Annotation.removed.is_(None))
        parts.append(notes if call.is_root_admin else notes.where(Annotation.admins_only == false()))
    query = union_all(*parts) if len(parts) > 1 else parts[0]
    known = {(row.sort, row.thing_id): row.id for row in call.session.execute(query)}
    for row in rows:
        if ("job", row["id"]) in known:
            row["jobid"], row["jobstatus"] = known["job", row["id"]], 0
        if kind is not None:
            row["hasannotations"] = ("note", row["id"]) in known


def _add_icons(call: Call, rows: list[Shown]) -> None:
    query = select(ResourceIcon).where(ResourceIcon.resource_id.in_([row["id"] for row in rows]))
    icons = {icon["resourceid"]: icon for icon in IconResponse.render(call, call.session.scalars(query).all())}
    for row in rows:
        if row["id"] in icons:
            row["icon"] = icons[row["id"]]
