"""Kill -9 of each process of the cloud at every step of deploy and of destroy, on simulated hosts.

A job is held at a step by what would hold it there in life: a worker that stands still, a host whose journal takes
no write, a row that another transaction has locked. There the victim is killed, and the job let go. Jobs overlap:
while one recovers, the next is held and another process killed.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from cs import CloudStackException

from tests.faults import victims
from tests.faults.simulated import STATE, Job, SimulatedCloud

VICTIMS = ("orchestrator", "api", "agents", "redis")
DEPLOY = ("begin_starting", "implement_networks", "claim_host", "prepare", "start_domain", "mark_running")
DESTROY = (
    "begin_stopping", "stop_domain", "tell_others", "mark_stopped", "mark_destroyed", "begin_expunging",
    "remove_volumes", "mark_expunged",
)  # fmt: skip
START = 5
"""The position of start_domain: before it comes tell_hosts, which networks on few hosts pass at once."""
STEPS = {"deploy": DEPLOY, "destroy": DESTROY}
BOUND_SECONDS = 90.0

Case = tuple[str, int, str]
# In this order neither a victim nor a step comes twice in a row.
CASES: list[Case] = [
    (kind, position, VICTIMS[(position + turn) % len(VICTIMS)])
    for kind, steps in STEPS.items()
    for turn in range(len(VICTIMS))
    for position in range(len(steps))
]
CLAIMED, RELEASED = "sim4", "sim5"
SHARED = ("sim1", "sim2", "sim3")


@dataclass
class Struck:
    """A job that was struck, and when."""

    job: Job
    at: float


@pytest.fixture(scope="module")
def cloud() -> Iterator[SimulatedCloud]:
    made = SimulatedCloud()
    made.simulator.down()
    STATE.parent.mkdir(exist_ok=True)
    try:
        made.simulator.up()
        yield made
    finally:
        made.close()
        made.simulator.down()
        shutil.rmtree(STATE.parent / "simulator", ignore_errors=True)


class Story:
    """All cases, one after the other, each on a VM of its own."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self.cloud = cloud
        self.struck: dict[Case, Struck] = {}
        self.names = (f"vm-{number}" for number in itertools.count())
        self.shared = cloud.network("shared")
        self.hosts = list(cloud.host_ids)
        self.spread = itertools.cycle(SHARED)
        # With a guest on each host every change of the network concerns them all.
        anchors = [self.deploy() for _ in SHARED]
        cloud.wait_ended(anchors, 60)
        self.targets: dict[int, list[Job]] = {}

    def deploy(self, network_id: str = "", host: str = "") -> Job:
        """A VM on `host`, by default on one of those that no test holds the row of."""
        host_id = self.cloud.host_ids[host or next(self.spread)]
        return self.cloud.deploy(next(self.names), network_id or self.shared, hostid=host_id)

    def run(self) -> None:
        started = time.monotonic()
        for case in CASES:
            kind, position, victim = case
            if kind == "destroy" and not self.targets:
                self._deploy_targets()
            self._wait_for_same_step(kind, position)
            with self.held(kind, position) as job:
                # Every other time Redis loses the agents' accounts too.
                pid = victims.strike(self.cloud.management, victim, accounts=bool(position % 2))
                self.struck[case] = Struck(job, time.monotonic())
            victims.running_pid(self.cloud.management, victim, but=pid)
            print(f"{time.monotonic() - started:6.1f} s {name_of(case)}")  # noqa: T201 - pytest shows it when a test fails
        self.cloud.wait_ended([one.job for one in self.struck.values()], BOUND_SECONDS)
        self.findings = self.cloud.findings()

    def _wait_for_same_step(self, kind: str, position: int) -> None:
        """Jobs of one step wait for the same rows: an earlier one would keep the workers from the next."""
        before = [one.job for case, one in self.struck.items() if case[:2] == (kind, position)]
        self.cloud.wait_ended(before, BOUND_SECONDS)

    def _deploy_targets(self) -> None:
        """The VMs to be destroyed, for each step those whose rows the test will hold."""
        tenant = self.cloud.tenant()
        network = tenant.network("tenant")
        for position in range(len(DESTROY)):
            make = {3: lambda: self.deploy(host=RELEASED), 4: lambda: tenant.deploy(next(self.names), network)}
            self.targets[position] = [make.get(position, self.deploy)() for _ in VICTIMS]
        self.cloud.wait_ended([job for jobs in self.targets.values() for job in jobs], BOUND_SECONDS)

    @contextmanager
    def held(self, kind: str, position: int) -> Iterator[Job]:
        """A fresh job that stands at the step, until the block ends."""
        with ExitStack() as stack:
            yield getattr(self, f"_{kind}_{position}")(stack)

    # --- deploy

    def _deploy_0(self, stack: ExitStack) -> Job:
        stack.enter_context(victims.stopped(self.cloud.management, "orchestrator"))
        return self.deploy()

    def _deploy_1(self, stack: ExitStack) -> Job:
        network = self.cloud.network(next(self.names))
        stack.enter_context(self.cloud.journals_held(self.hosts))
        return self._at(self.deploy(network), 1)

    def _deploy_2(self, stack: ExitStack) -> Job:
        by = stack.enter_context(self._host_row(CLAIMED))
        return self._blocked(self.deploy(host=CLAIMED), by)

    def _deploy_3(self, stack: ExitStack) -> Job:
        stack.enter_context(self.cloud.journals_held(self.hosts))
        return self._at(self.deploy(), 3)

    def _deploy_4(self, _stack: ExitStack) -> Job:
        return self._at(self.deploy(), START)

    def _deploy_5(self, stack: ExitStack) -> Job:
        job = self._at(self.deploy(), START)
        return self._blocked(job, stack.enter_context(self._vm_row(job)))

    # --- destroy

    def _destroy_0(self, stack: ExitStack) -> Job:
        stack.enter_context(victims.stopped(self.cloud.management, "orchestrator"))
        return self._destroy(0)

    def _destroy_1(self, _stack: ExitStack) -> Job:
        return self._at(self._destroy(1), 1)

    def _destroy_2(self, stack: ExitStack) -> Job:
        own = self.cloud.vm(self.targets[2][0].vm_id)["host"]
        others = [name for name in SHARED if self.cloud.host_ids[name] != own]
        stack.enter_context(self.cloud.journals_held(others))
        return self._at(self._destroy(2), 2)

    def _destroy_3(self, stack: ExitStack) -> Job:
        by = stack.enter_context(self._host_row(RELEASED))
        return self._blocked(self._destroy(3), by)

    def _destroy_4(self, stack: ExitStack) -> Job:
        vm_id = self.targets[4][0].vm_id
        query = "SELECT 1 FROM resource_use WHERE account_id = (SELECT account_id FROM vms WHERE id = %s)"
        by = stack.enter_context(self.cloud.rows_held(query, vm_id))
        return self._blocked(self._destroy(4), by)

    def _destroy_5(self, stack: ExitStack) -> Job:
        vm_id = self.targets[5][0].vm_id
        by = stack.enter_context(self.cloud.rows_held("SELECT id FROM volumes WHERE vm_id = %s", vm_id))
        return self._blocked(self._destroy(5), by)

    def _destroy_6(self, stack: ExitStack) -> Job:
        return self._at_remove_volumes(6, stack)

    def _destroy_7(self, stack: ExitStack) -> Job:
        with ExitStack() as inner:
            job = self._at_remove_volumes(7, inner)
            by = stack.enter_context(self.cloud.rows_held("SELECT id FROM nics WHERE vm_id = %s", job.vm_id))
        return self._blocked(job, by)

    def _at_remove_volumes(self, step: int, stack: ExitStack) -> Job:
        job = self._at(self._destroy(step), 1)
        with self.cloud.rows_held("SELECT id FROM volumes WHERE vm_id = %s", job.vm_id) as by:
            self._blocked(job, by)
            stack.enter_context(self.cloud.journals_held(self.hosts))
        return self._at(job, 6)

    def _destroy(self, step: int) -> Job:
        return self.cloud.destroy(self.targets[step].pop(0).vm_id)

    # ---

    def _host_row(self, name: str):
        return self.cloud.rows_held("SELECT id FROM hosts WHERE name = %s", name)

    def _vm_row(self, job: Job):
        return self.cloud.rows_held("SELECT id FROM vms WHERE id = %s", job.vm_id)

    def _at(self, job: Job, position: int) -> Job:
        self.cloud.wait_position(job, position)
        return job

    def _blocked(self, job: Job, by: int) -> Job:
        self.cloud.wait_blocked(job, by)
        return job


@pytest.fixture(scope="module")
def story(cloud) -> Story:
    told = Story(cloud)
    try:
        told.run()
    except BaseException:
        for name in VICTIMS:
            print(  # noqa: T201 - as above
                f"--- {name}\n{victims.last_lines(cloud.management.group.log(name))}"
            )
        raise
    return told


def name_of(case: Case) -> str:
    kind, position, victim = case
    return f"{kind}-{STEPS[kind][position]}-{victim}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_job_ends_whatever_dies_at_whatever_step(story, case):
    cloud, struck = story.cloud, story.struck[case]
    now, vm = cloud.standing(struck.job), cloud.vm(struck.job.vm_id)
    assert now.status == "done" or (now.status == "failed" and now.error), now
    if vm["state"] == "Running":
        assert cloud.domains_of(struck.job.vm_id) == [vm["host"]]
    else:
        assert cloud.domains_of(struck.job.vm_id) == []
        assert vm["host"] is None
    if now.status == "done":
        assert vm == ({"state": "Running", "host": vm["host"], "removed": False} if case[0] == "deploy" else vm)
        assert (case[0] == "destroy") == vm["removed"]


def test_afterwards_the_oracle_finds_nothing(story):
    assert story.findings == []


def test_redis_has_the_accounts_of_all_agents_again(story):
    users = story.cloud.rows.execute("SELECT broker_user FROM agents WHERE removed IS NULL").fetchall()
    known = story.cloud.management.redis._ask("ACL", "USERS").split()
    assert {user for (user,) in users} <= set(known)


def test_a_deploy_whose_answer_was_cut_off_is_made_once(story):
    """The client sends again with its token, and there is one VM."""
    cloud = story.cloud
    jobs: list[Job] = []
    for number in range(4):
        thread = threading.Thread(target=lambda n=number: jobs.append(cloud.deploy(f"cut-{n}", story.shared)))
        thread.start()
        time.sleep(0.012 * number)
        pid = victims.strike(cloud.management, "api")
        thread.join(60)
        victims.running_pid(cloud.management, "api", but=pid)
    made = [name for (name,) in cloud.rows.execute("SELECT name FROM vms WHERE name LIKE 'cut-%' ORDER BY name")]
    assert made == [f"cut-{number}" for number in range(4)]
    cloud.wait_ended(jobs, BOUND_SECONDS)


def answers(cloud: SimulatedCloud) -> bool:
    try:
        return bool(cloud.client.listZones()["zone"])
    except CloudStackException:
        return False


def test_the_manager_outlives_its_database(story):
    cloud = story.cloud
    before = {name: victims.running_pid(cloud.management, name) for name in ("orchestrator", "api")}
    pid = victims.strike(cloud.management, "postgresql")
    victims.running_pid(cloud.management, "postgresql", but=pid)
    cloud.management.postgresql.wait()
    cloud.close()
    deadline = time.monotonic() + 10.0
    while not answers(cloud):
        assert time.monotonic() < deadline
    job = story.deploy()
    cloud.wait_ended([job], 20)
    assert cloud.standing(job).status == "done"
    assert before == {name: victims.running_pid(cloud.management, name) for name in before}
    assert cloud.findings() == []
