"""Passwords of guests stand in no table in plain text, whatever a workflow notes or asks."""

from __future__ import annotations

from sqlalchemy import text, update

from manager.db import transaction
from manager.models import Base, Vm

CANARY = "canary-9f3b1c"


def dump() -> dict[str, str]:
    """Every row of every table as the database stores it."""
    with transaction() as session:
        return {
            name: repr(session.execute(text(f"SELECT * FROM {name}")).all())  # noqa: S608 - our own tables
            for name in Base.metadata.tables
        }


def test_no_table_shows_a_password(cloud):
    vm_id = cloud.deploy()
    with transaction() as session:
        session.execute(update(Vm).where(Vm.id == vm_id).values(password=CANARY))
    seen = []
    for _ in range(30):
        batch = cloud.take_messages()
        if not batch:
            break
        seen += [name for name, rows in dump().items() if CANARY in rows]
        for message in batch:
            cloud.handle(*message)
    cloud.stop(vm_id)
    cloud.settle()
    assert cloud.get(Vm, vm_id).password == CANARY
    assert seen + [name for name, rows in dump().items() if CANARY in rows] == []
