"""Sees all changes of metered rows: what the unit of work writes, and UPDATE, INSERT and DELETE statements."""

from __future__ import annotations

from dataclasses import dataclass
from operator import eq
from typing import Any

from sqlalchemy import BindParameter, event, inspect
from sqlalchemy.orm import ORMExecuteState, Session

from manager.models.meters import METERS, Differing, Meter, end_spans, record_change, settle


def register() -> None:
    """Listen to all sessions of this process. A value that is set before it was loaded is loaded first."""
    for meter in METERS.values():
        for name in sorted(meter.watched):
            event.listen(getattr(meter.model, name), "set", lambda *_: None, active_history=True)
    event.listen(Session, "after_flush", _after_flush)
    event.listen(Session, "do_orm_execute", _on_statement)
    event.listen(Session, "before_commit", settle)
    event.listen(Session, "after_soft_rollback", lambda session, _: session.info.pop("usage", None))


def _after_flush(session: Session, _context: Any) -> None:
    pairs: dict[type[Any], list[tuple[Any, Any]]] = {}
    read: dict[type[Any], list[str]] = {}
    for thing in (*session.new, *session.dirty):
        meter = METERS.get(type(thing))
        old = _old_values(meter, thing) if meter is not None and thing not in session.new else {}
        if meter is None or (thing not in session.new and not old):
            continue
        if meter.query is not None:
            read.setdefault(meter.model, []).append(thing.id)
        else:
            pairs.setdefault(meter.model, []).append((Differing(thing, old) if old else None, thing))
    ended = [key for thing in session.deleted if type(thing) in METERS for key in METERS[type(thing)].keys(thing.id)]
    ended += [key for model, ids in read.items() for identifier in ids for key in METERS[model].keys(identifier)]
    end_spans(session, ended)
    for model, ids in read.items():
        rows = session.execute(METERS[model].reading().where(model.id.in_(ids))).all()
        pairs.setdefault(model, []).extend((None, row) for row in rows)
    for model, found in pairs.items():
        record_change(session, METERS[model], found)


def _old_values(meter: Meter, thing: Any) -> dict[str, Any]:
    """The watched values that a flush has changed, as they were."""
    attributes = inspect(thing).attrs
    old = {}
    for name in meter.watched:
        history = attributes[name].history if name in attributes else None
        if history is not None and history.added and history.deleted:
            old[name] = history.deleted[0]
    return old


def _on_statement(state: ORMExecuteState) -> Any:
    if not (state.is_update or state.is_insert or state.is_delete) or state.bind_mapper is None:
        return None
    meter = METERS.get(state.bind_mapper.class_)
    if meter is None:
        return None
    if state.is_insert:
        return _on_insert(state, meter)
    statement: Any = state.statement
    if state.is_update and _keeps_uses(meter, statement):
        return None
    dialect = state.session.get_bind().dialect
    if state.is_delete and dialect.delete_returning:
        return _on_delete(state, meter)
    old = _state_before(meter, statement) if state.is_update and dialect.update_returning else None
    return _on_change(state, meter) if old is None else _on_move(state, meter, old)


def _keeps_uses(meter: Meter, statement: Any) -> bool:
    """Whether the UPDATE sets nothing that is watched, or moves rows from one state to another of its sort."""
    values = _set_values(statement)
    changed = values.keys() & meter.watched
    if not changed:
        return True
    before = _state_before(meter, statement)
    return before is not None and meter.sort is not None and meter.sort(before) == meter.sort(values["state"].value)


def _state_before(meter: Meter, statement: Any) -> str | None:
    """The one state of the rows that the UPDATE moves to another, where it sets nothing else that is watched."""
    values = _set_values(statement)
    if values.keys() & meter.watched != {"state"} or not isinstance(values["state"], BindParameter):
        return None
    column = meter.model.__table__.c.state
    for condition in statement._where_criteria:  # noqa: SLF001 - as below
        left, right = getattr(condition, "left", None), getattr(condition, "right", None)
        if left is not None and left.compare(column) and condition.operator is eq and isinstance(right, BindParameter):
            return str(right.value)
    return None


def _set_values(statement: Any) -> dict[str, Any]:
    """What an UPDATE sets, or an INSERT stores, by column."""
    values = statement._values or {}  # noqa: SLF001 - SQLAlchemy has no other way to tell
    return {(column if isinstance(column, str) else column.key): value for column, value in values.items()}


def _on_insert(state: ORMExecuteState, meter: Meter) -> Any:
    """Only INSERTs of given rows that name their ids are measured; those of SELECTs are for benchmarks and upgrades."""
    values = _set_values(state.statement)
    plain = {name: value.value for name, value in values.items() if isinstance(value, BindParameter)}
    result = state.invoke_statement()
    if "id" in plain and _inserted(result):
        row = meter.inserted(state.session, plain) if meter.inserted is not None else None
        if row is None:
            row = state.session.execute(meter.reading().where(meter.model.id == plain["id"])).one()
        record_change(state.session, meter, [(None, row)])
    return result


def _inserted(result: Any) -> bool:
    """Whether the row was stored; one that stood in the way leaves the count at 0."""
    return bool(result.rowcount)


@dataclass(frozen=True)
class Changed:
    """The result of a statement of which nothing is wanted but how many rows it changed."""

    rowcount: int


def _on_delete(state: ORMExecuteState, meter: Meter) -> Any:
    """Let the database tell which rows went."""
    statement: Any = state.statement
    gone = state.invoke_statement(statement=statement.returning(meter.model.id)).scalars().all()
    end_spans(state.session, [key for identifier in gone for key in meter.keys(identifier)])
    return Changed(len(gone))


def _on_move(state: ORMExecuteState, meter: Meter, old: str) -> Any:
    """Let the database tell which rows went from the state `old` to another, and what else they hold."""
    statement: Any = state.statement
    columns = [getattr(meter.model, name) for name in meter.columns]
    rows = state.invoke_statement(statement=statement.returning(*columns)).all()
    record_change(state.session, meter, [(Differing(row, {"state": old}), row) for row in rows])
    return Changed(len(rows))


def _on_change(state: ORMExecuteState, meter: Meter) -> Any:
    """Lock and read the rows, change exactly those, and tell or read what they are then."""
    session, model = state.session, meter.model
    statement: Any = state.statement
    reading = meter.reading() if meter.query is not None else meter.reading().with_for_update()
    for condition in statement._where_criteria:  # noqa: SLF001 - as above
        reading = reading.where(condition)
    before = {row.id: row for row in session.execute(reading)}
    changed = statement.where(model.id.in_(list(before)))
    result = state.invoke_statement(statement=changed)
    after: dict[str, Any] = {}
    if state.is_update and before:
        after = _after(session, meter, before, _set_values(statement))
    record_change(session, meter, [(row, after.get(key)) for key, row in before.items()])
    return result


def _after(session: Session, meter: Meter, before: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The rows after an UPDATE, by id; they are read only where it sets what the database computes."""
    plain = {name: value.value for name, value in values.items() if isinstance(value, BindParameter)}
    if meter.query is None and values.keys() & meter.watched <= plain.keys():
        return {key: Differing(row, plain) for key, row in before.items()}
    return {row.id: row for row in session.execute(meter.reading().where(meter.model.id.in_(list(before))))}
