"""The API over the in-process cloud of the workflow tests, and a count of SQL statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, select

from manager import configuration, db
from manager.celery_app import app
from manager.models import Account, Role, TrafficType
from tests.client import Caller
from tests.factories import Factory
from tests.unit.workflows.cloud import Cloud


def live_cloud(factory: Factory, directory: Path) -> tuple[Cloud, Caller]:
    """The cloud in the factory's database, whose workflows `settle` carries on, and a user of its tenant."""
    app.cache_clear()
    cloud = Cloud(directory)
    account = factory.first(Account, id=cloud.account_id)
    role = factory.first(Role, live="user")
    account = factory.change(
        account, domain_id=factory.root.id, role_id=role.id, live=f"{factory.root.id}/{account.name}"
    )
    factory(TrafficType, physical_network_id=cloud.physical_id)
    return cloud, Caller.of(factory.engine, factory.user("live", account).username)


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The SQL statements that are sent meanwhile, that for the settings among them."""
    configuration.forget()
    sent: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def costs(engine: Engine, make: Callable[[], Any], ask: Callable[[], Any]) -> dict[int, int]:
    """By the count of rows that `ask` lists, 1 and then 50, made by `make`: how many SQL statements that took."""
    found = {}
    for more in (1, 49):
        for _ in range(more):
            make()
        with statements(engine) as sent:
            count = ask()["count"]
        found[count] = len(sent)
    return found


def done(api, caller, answer):
    """The result of the job, which has ended well."""
    job = api("queryAsyncJobResult", caller, jobid=answer["jobid"])
    assert job["jobstatus"] == 1, job
    return job["jobresult"]


def run(api, cloud, caller, command, **given):
    answer = api(command, caller, **given)
    cloud.settle()
    return done(api, caller, answer)


def rows(factory, model, **values) -> list:
    with db.transaction(factory.engine) as session:
        return list(session.scalars(select(model).filter_by(**values)))


def change(factory, model, key, **values):
    factory.change(factory.first(model, id=key), **values)
