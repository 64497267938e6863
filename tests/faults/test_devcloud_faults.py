"""Kill -9 of anything on a cloud of two emulated hosts with real guests: it mends itself, or `up` mends it."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from cs import CloudStackException
from requests import RequestException

from devcloud.cells import Cell
from devcloud.cloud import DevCloud
from devcloud.management import DATABASE
from devcloud.paths import Site
from devcloud.processes import wait_until
from devcloud.proof import Proof
from tests.faults import marks, victims
from tests.faults.mixed_load import Load

SITE = Site(state=Path("/var/lib/ptf/devcloud"), prefix="ptf", api_port=18482)
FAULTS = 10
SEED = int(os.environ.get("PILEUS_FAULT_SEED", "20261121"))
PAUSE_SECONDS = (1.0, 4.0)
BOUND_SECONDS = 180.0
QUIET_SECONDS = 90.0
ANSWER_SECONDS = 90.0
SWITCH_SECONDS = 20.0

pytestmark = pytest.mark.devcloud


class World:
    """The cloud, its proof with two guests a tenant, and what was there before it."""

    def __init__(self) -> None:
        self.cloud = DevCloud(SITE, pace={"heartbeat_seconds": 2.0, "inventory_seconds": 4.0})
        self.cloud.management.settings = {"PILEUS_SWEEP_SECONDS": "1"}
        self.cloud.down()
        self.before = marks.left(self.cloud)
        share_guest_image(SITE)

    def bring_up(self) -> None:
        self.cloud.up()
        self.proof = Proof(self.cloud)
        self.proof.deploy()
        for tenant in self.proof.tenants.values():
            tenant.wait()
            for name in tenant.guests:
                tenant.must(name, "sync")  # what a guest has not written is lost with the power, as on any machine

    def select(self, query: str, *values: Any) -> list[Any]:
        place = str(self.cloud.management.postgresql.directory)
        with psycopg.connect(host=place, dbname=DATABASE, user="pileus") as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]  # queries of this file

    def open_jobs(self) -> list[Any]:
        query = "SELECT id, name, subject_id, position, undoing, asked, error FROM workflows WHERE status = 'running'"
        return self.select(query)

    def findings(self) -> list[dict[str, Any]]:
        """What the oracle says a while after all is quiet; [] is as it must be."""
        since = time.time() + 10.0
        deadline = time.monotonic() + QUIET_SECONDS
        while (found := self._ask_oracle(since)) and time.monotonic() < deadline:
            time.sleep(1.0)
        return found

    def _ask_oracle(self, since: float) -> list[dict[str, Any]]:
        root = self.proof.root
        try:
            drift = root.listDrift(surveyedafter=str(since)).get("drift", [])
            return [*drift, *root.listOrphans(surveyedafter=str(since)).get("orphan", [])]
        except (CloudStackException, RequestException) as error:  # the last fault may have been the API's
            return [{"detail": str(error)}]

    def running(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.proof.root.listVirtualMachines(listall="true", state="Running").get(
            "virtualmachine", []
        )
        return listed

    def wait_answering(self, seconds: float = ANSWER_SECONDS) -> None:
        """Every guest that the API calls Running answers a ping of its network's router.

        :raises AssertionError: one does not within `seconds`, by default those that a boot takes
        """
        silent = self.running()
        deadline = time.monotonic() + seconds
        while silent and time.monotonic() < deadline:
            silent = [vm for vm in silent if not self._answers(vm)]
            time.sleep(0.5)
        assert not silent, [(vm["name"], vm["hostname"], vm["nic"][0]["ipaddress"]) for vm in silent]

    def _answers(self, vm: dict[str, Any]) -> bool:
        (network,) = {nic["networkid"] for nic in vm["nic"]}
        router = self.proof.root.listRouters(networkid=network, listall="true")["router"][0]
        cell = self.proof.cells[router["hostname"]]
        namespaces = json.loads(cell.exec(["ip", "-json", "netns", "list"]) or "[]")
        digits = router["id"].replace("-", "")
        name = next((one["name"] for one in namespaces if digits.startswith(one["name"].removeprefix("vr-"))), "")
        if not name:
            return False
        ping = cell.enter(["ip", "netns", "exec", name, "ping", "-c", "1", "-W", "1", vm["nic"][0]["ipaddress"]])
        return psutil.Popen(ping, stdout=-3, stderr=-3).wait() == 0

    def wait_ssh(self) -> None:
        """The proof's guests let its owner in again, after they may have been started anew."""
        for tenant in self.proof.tenants.values():
            for name in tenant.guests:
                wait_until(lambda t=tenant, n=name: t.run(n, "true")[0] == 0, f"ssh to {name}", ANSWER_SECONDS)  # type: ignore[misc]


def share_guest_image(site: Site) -> None:
    """Take the guest's disk from the default cloud's cache when it is there; else `up` builds it."""
    source = Site().cache
    site.cache.mkdir(parents=True, exist_ok=True)
    for path in source.glob("guest.qcow2*"):
        shutil.copy2(path, site.cache / path.name)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    try:
        made.bring_up()
        yield made
    finally:
        made.cloud.down()
        shutil.rmtree(SITE.state)


def fell_cell(cell: Cell) -> None:
    """Power failure, and the power comes back."""
    cell.kill()
    cell.up()


def faults(world: World, choose: random.Random) -> list[tuple[str, Callable[[], Any]]]:
    """Each kind once, then at random; on a host chosen at random."""
    management = world.cloud.management
    kinds: dict[str, Callable[[Cell], Any]] = {
        "orchestrator": lambda _cell: victims.strike(management, "orchestrator"),
        "api": lambda _cell: victims.strike(management, "api"),
        "redis": lambda _cell: victims.strike(management, "redis"),
        "agent": lambda cell: victims.kill([victims.in_cell(cell, "agent")]),
        "libvirtd": lambda cell: victims.kill([victims.in_cell(cell, "libvirtd")]),
        "ovs-vswitchd": lambda cell: victims.kill([victims.in_cell(cell, "ovs-vswitchd")]),
        "cell": fell_cell,
    }
    order = choose.sample(list(kinds), len(kinds)) + choose.choices(list(kinds), k=FAULTS - len(kinds))
    chosen = [(kind, choose.choice(world.cloud.cells)) for kind in order]
    return [(f"{kind} of {cell.name}", lambda k=kind, c=cell: kinds[k](c)) for kind, cell in chosen]  # type: ignore[misc]


def test_ten_faults_under_load_leave_nothing_undone(world):
    choose = random.Random(SEED)
    place = world.proof.place()
    loads = [
        Load(tenant.client, place, tenant.network["id"], SEED + number)
        for number, tenant in enumerate(world.proof.tenants.values())
    ]
    for load in loads:
        load.start()
    done = []
    started = time.monotonic()
    try:
        for name, strike in faults(world, choose):
            time.sleep(choose.uniform(*PAUSE_SECONDS))
            done.append(f"{time.monotonic() - started:.1f} s: {name}")
            strike()
    finally:
        for load in loads:
            load.stop()
        told = f"seed {SEED}; {done}; calls {[dict(load.done) for load in loads]}"
        print(told)  # noqa: T201 - the seed and what it chose, to run it again
    deadline = time.monotonic() + BOUND_SECONDS
    while world.open_jobs() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert world.open_jobs() == [], told
    assert world.select("SELECT name, error FROM workflows WHERE status = 'stuck'") == [], told
    assert world.findings() == [], told
    world.wait_answering()
    assert all(sum(load.done.values()) for load in loads), told


def test_tenants_are_apart_after_all_that(world):
    world.wait_ssh()
    world.proof.check_tunnels()
    world.proof.check_silence()


def test_a_switch_that_dies_gets_its_flows_back_without_any_command(world):
    for cell in world.cloud.cells:
        world.wait_answering()
        victims.kill([victims.in_cell(cell, "ovs-vswitchd")])
        wait_until(cell.is_up, f"the switch of {cell.name}", SWITCH_SECONDS)
        world.wait_answering(SWITCH_SECONDS)


def test_up_after_up_changes_nothing(world):
    before = marks.pids(world.cloud)
    world.cloud.up()
    assert marks.pids(world.cloud) == before
    assert all(before.values())


def test_up_repairs_a_cloud_of_which_everything_was_killed(world):
    cloud = world.cloud
    wanted = {vm["id"] for vm in world.running()}
    jobs = world.select("SELECT count(*) FROM workflows WHERE name LIKE 'vm.%%'")
    supervisor = cloud.management.group.pid
    victims.kill([supervisor, *victims.family(supervisor)[1:]])
    for cell in cloud.existing_cells:
        cell.kill()
    assert not any(cell.pid for cell in cloud.existing_cells)
    fresh = DevCloud(SITE, pace=cloud.pace)
    fresh.management.settings = cloud.management.settings
    fresh.up()
    world.cloud = fresh
    assert {vm["id"] for vm in world.running()} == wanted
    world.wait_answering()
    assert world.select("SELECT count(*) FROM workflows WHERE name LIKE 'vm.%%'") == jobs
    world.wait_ssh()
    for tenant in world.proof.tenants.values():
        tenant.wait()
    world.proof.run()


def test_down_leaves_only_the_cache(world):
    cells = [cell.pid for cell in world.cloud.existing_cells]
    namespaces = set(itertools.chain.from_iterable(marks.namespaces_of(pid) for pid in cells))
    assert len(namespaces) == len(marks.KINDS) * len(cells)
    world.cloud.down()
    assert marks.left(world.cloud, namespaces) == world.before
    assert world.cloud.site.guest_image.exists()
