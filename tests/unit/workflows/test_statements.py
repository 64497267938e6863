"""What a deployment and an expunge cost in SQL statements, so that growth is noticed."""

from __future__ import annotations

from manager import db
from manager.models import Vm
from tests.unit.api.live_cloud import statements
from tests.unit.workflows.cloud import Cloud

DEPLOY = 45
DESTROY = 46


def counted(sent: list[str]) -> list[str]:
    """Without what SQLite is sent to begin a transaction, and without the look for open workflows of `settle`."""
    return [text for text in sent if not text.startswith(("BEGIN", "SELECT workflows.id \nFROM workflows \nWHERE"))]


def test_a_deployment_and_an_expunge_cost_few_statements(cloud: Cloud):
    """The network is there and one other host holds a part of it; messages are carried one by one."""
    first, second = cloud.deploy("first"), cloud.deploy("second")
    cloud.settle()
    assert cloud.get(Vm, first).host_id != cloud.get(Vm, second).host_id
    with statements(db.engine()) as sent:
        third = cloud.deploy("third")
        cloud.settle()
    assert cloud.get(Vm, third).state == "Running"
    deployed = counted(sent)
    assert len(deployed) <= DEPLOY, "\n".join(deployed)
    with statements(db.engine()) as sent:
        cloud.destroy(third)
        cloud.settle()
    assert cloud.get(Vm, third).removed is not None
    destroyed = counted(sent)
    assert len(destroyed) <= DESTROY, "\n".join(destroyed)
