"""What a command answers: declared fields, and one bulk rendering of many rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import select

from manager.models import WorkflowRow

if TYPE_CHECKING:
    from manager.api.call import Call

Shown = dict[str, Any]


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


class Response:
    """Base of all responses.

    `shows` is the model whose rows it renders (jobs and `related` find it so). With `has_jobs`, a row with an open
    job carries its jobid and jobstatus.
    """

    object_key: ClassVar[str] = ""
    shows: ClassVar[type[Any] | None] = None
    has_jobs: ClassVar[bool] = False
    fields: ClassVar[dict[str, Out]] = {}
    _hidden: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        own = {name: out for name, out in vars(cls).items() if isinstance(out, Out)}
        bases = [base.fields for base in reversed(cls.__bases__) if issubclass(base, Response)]
        together = (*bases, vars(cls).get("fields", {}), own)
        cls.fields = {name: out for fields in together for name, out in fields.items()}
        cls._hidden = frozenset(name for name, out in cls.fields.items() if out.root_only)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        """A dict of each row, with a fixed number of SQL statements however many rows there are."""
        raise NotImplementedError

    @classmethod
    def shown(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        """The rows as they go out: without what is None or hidden from the caller, times as text, open jobs."""
        if not rows:
            return []
        hidden = frozenset() if call.is_root_admin else cls._hidden
        found = [_clean(row, hidden) for row in cls.render(call, rows)]
        if cls.has_jobs:
            _add_jobs(call, found)
        return found


class SuccessResponse(Response):
    success = Bool("true when the command is done")
    displaytext = Str("what there is to say about it")


def when(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _clean(row: Shown, hidden: frozenset[str]) -> Shown:
    out: Shown = {}
    for name, value in row.items():
        if value is None or name in hidden:
            continue
        kind = type(value)
        if kind is list:
            out[name] = [_clean(v, frozenset()) if type(v) is dict else v for v in value]
        elif kind is dict:
            out[name] = _clean(value, frozenset())
        else:
            out[name] = when(value) if kind is dt.datetime else value
    return out


def _add_jobs(call: Call, rows: list[Shown]) -> None:
    ids = [row["id"] for row in rows]
    query = select(WorkflowRow.subject_id, WorkflowRow.id)
    query = query.where(WorkflowRow.subject_id.in_(ids), WorkflowRow.status == "running", WorkflowRow.command != "")
    jobs = {row.subject_id: row.id for row in call.session.execute(query)}
    for row in rows:
        if row["id"] in jobs:
            row["jobid"], row["jobstatus"] = jobs[row["id"]], 0
