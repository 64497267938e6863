"""Random and malformed requests: none breaks the server, and a refused one leaves nothing behind."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import update

from manager.api.command import COMMANDS
from manager.models import SshKeyPair, Vm
from tests.client import Refused
from tests.examples.world import make
from tests.factories import Factory
from tests.fuzz.run import run
from tests.fuzz.world import Snapshot, Writes

SEED = int(os.environ.get("PILEUS_FUZZ_SEED", "20260102"))


def test_two_thousand_requests(engine, tmp_path):
    found = run(engine, tmp_path, 2000, SEED)
    assert found.faults == [], "\n\n".join(found.faults[:5])
    assert sum(found.statuses.values()) == 2000
    assert {200, 401, 405, 430, 431, 432, 531} <= set(found.statuses), found.statuses


def test_some_on_each_database(any_engine, tmp_path):
    found = run(any_engine, tmp_path, 500, SEED + 1)
    assert found.faults == [], "\n\n".join(found.faults[:5])


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("listEvents", {"startdate": "9999-12-31T23:59:59-2359"}),
        ("createStoragePool", {"name": "x", "url": "http://[::1"}),
        ("createStoragePool", {"name": "x", "url": "simulator:///p", "capacitybytes": 2**63 - 1}),
        ("addHost", {"hypervisor": "Simulator", "url": "http://[::1"}),
        ("registerSSHKeyPair", {"name": "x", "publickey": "ssh-rsa AAAA\u00e9"}),
        ("deployVirtualMachine", {"userdata": "AAA\u00e9"}),
        ("registerUserData", {"name": "x", "userdata": "\uff11"}),
        ("removeRegion", {"id": "9" * 19}),
        ("addRegion", {"id": 2, "name": "x", "endpoint": "http://[::1"}),
    ],
)
def test_what_broke_it_once(engine, tmp_path, command, given):
    world = make(engine, tmp_path)
    named = {"zoneid": "zone", "podid": "pod", "clusterid": "cluster", "serviceofferingid": "offering",
             "templateid": "template"}  # fmt: skip
    taken = {name: world.names[key] for name, key in named.items() if name in COMMANDS[command].parameters}
    with pytest.raises(Refused, match=r"431 "):
        world.api(command, **taken, **given)


def test_a_nic_of_a_machine_of_ones_own_is_found_by_both_identifiers(engine, tmp_path):
    world = make(engine, tmp_path)
    vm_id = world.cloud.deploy()
    world.cloud.settle()
    tenant = world.callers["tenant"]
    nic = world.api("listNics", tenant, virtualmachineid=vm_id)["nic"][0]
    assert world.api("listNics", tenant, virtualmachineid=vm_id, nicid=nic["id"])["count"] == 1


def test_writes_of_committed_transactions_are_seen(engine):
    """The watch itself: what is rolled back, or changes no row, does not count."""
    writes, factory = Writes(), Factory(engine)
    pair = factory(SshKeyPair)
    writes.watch(engine)
    with engine.connect() as connection:
        connection.execute(update(SshKeyPair).values(name="other"))
        connection.rollback()
    with engine.begin() as connection:
        connection.execute(update(Vm).values(name="other"))
    assert writes.tables == set()
    factory.change(pair, name="another")
    assert writes.tables == {"ssh_key_pairs"}


def test_a_snapshot_puts_everything_back(any_engine):
    factory = Factory(any_engine)
    pair = factory(SshKeyPair, name="before")
    snapshot = Snapshot(any_engine)
    factory.change(pair, name="after")
    factory(SshKeyPair)
    snapshot.restore()
    assert [row["name"] for row in Snapshot(any_engine).rows[SshKeyPair.__table__]] == ["before"]
