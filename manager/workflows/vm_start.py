"""Steps of deploying and starting a virtual machine."""

from __future__ import annotations

from collections import Counter
from functools import cache

from sqlalchemy import Executable, bindparam, select, update

from agents.contract import CreateVolume, RemoveVolume, StartVm, StopVm
from manager.db import write
from manager.models import Host, StoragePool, Vm, Volume
from manager.models.states import VM_MOVES, VOLUME_MOVES
from manager.placement import host as placement
from manager.placement.planner import DEFAULT
from manager.workflows.crowds import await_taken_back, await_told, begin_telling
from manager.workflows.engine import Ask, Await, Outcome, Run, StepFailed
from manager.workflows.network import await_implemented
from manager.workflows.specs import disk_spec, pool_spec, vm_spec, volume_spec
from manager.workflows.vm_read import (
    affinity_groups_of,
    agent_of,
    ask_of,
    disks_of,
    forget_holdings,
    leave_host,
    nics_of,
    offering_of,
    part,
    place_nics,
    plugs_of,
    tell,
    vm_of,
    volumes_of,
)

CLAIM_ATTEMPTS = 4


def begin_starting(run: Run) -> Outcome:
    vm = vm_of(run)
    VM_MOVES.move(vm, "start")
    vm.reason = ""
    return None


def give_up_deploy(run: Run) -> Outcome:
    """The deployed VM stays to be seen, in Error with its reason; it holds nothing any more, not even its name."""
    vm = vm_of(run)
    if vm.state != "Error":
        VM_MOVES.move(vm, "fail")
        vm.reason = run.row.error or ""
        vm.live = None
        forget_holdings(run, vm)
    return None


def give_up_start(run: Run) -> Outcome:
    vm = vm_of(run)
    VM_MOVES.move(vm, "stopped")
    vm.reason = run.row.error or ""
    return None


def implement_networks(run: Run) -> Outcome:
    for _, network in plugs_of(run):
        wait = await_implemented(run, network)
        if wait is not None:
            return wait
    return None


def need_of(run: Run, vm: Vm, volumes: list[Volume]) -> placement.Need:
    offering = offering_of(run)
    own = next((disk.offering for disk in disks_of(run) if disk.volume.type == "ROOT" and disk.offering), None)
    return placement.Need(
        zone_id=vm.zone_id,
        hypervisor=vm.hypervisor,
        cpus=vm.cpus,
        cpu_mhz=vm.cpus * vm.cpu_mhz,
        memory=vm.memory,
        disk=sum(volume.size for volume in volumes if volume.pool_id is None),
        host_tags=offering.host_tags,
        storage_tags=own.tags if own else offering.storage_tags,
        storage_type=own.storage_type if own else offering.storage_type,
        host_id=run.arguments.get("host_id"),
        cluster_id=run.arguments.get("cluster_id"),
        pod_id=run.arguments.get("pod_id"),
        pool_id=next((volume.pool_id for volume in volumes if volume.pool_id), None),
        account_id=vm.account_id,
        vm_id=vm.id,
        groups=affinity_groups_of(run),
        planner=run.arguments.get("planner") or offering.planner or DEFAULT,
    )


def claim_host(run: Run) -> Outcome:
    """Take the best host that still has room, and room in its pool; every refusal keeps its reason."""
    vm = vm_of(run)
    if vm.host_id is not None:
        return None
    volumes = volumes_of(run)
    need = need_of(run, vm, volumes)
    with run.session.no_autoflush:  # the VM is written once, with its host
        for attempt in range(CLAIM_ATTEMPTS):
            verdicts = placement.judge(run.session, need)
            verdict = _claim_best(run, need, verdicts, as_judged=attempt < CLAIM_ATTEMPTS - 1)
            if verdict is not None:
                _settle(run, vm, volumes, verdict)
                return None
            if not any(one.fits for one in verdicts):
                break
    raise StepFailed(f"No host has room for {vm.name}: {_reasons(verdicts)}. explainPlacement tells more.", 533)


def _reasons(verdicts: list[placement.Verdict]) -> str:
    """Why no host was taken, without the hosts' names, which are not for tenants."""
    found = Counter(verdict.reason or "taken by others meanwhile" for verdict in verdicts)
    told = [f"{count} of {len(verdicts)} hosts: {reason}" for reason, count in sorted(found.items())]
    return "; ".join(told) or "the zone has no hosts"


def _claim_best(
    run: Run, need: placement.Need, verdicts: list[placement.Verdict], *, as_judged: bool
) -> placement.Verdict | None:
    """The best host, claimed; with `as_judged` none but the best, and only while nobody else has claimed there."""
    for verdict in verdicts:
        if not verdict.fits:
            return None
        if placement.claim(run.session, need, verdict, as_judged=as_judged):
            if placement.confirm(run.session, need, verdict):
                return verdict
            placement.release(run.session, verdict.host_id, need.cpu_mhz, need.memory)
        if as_judged:
            return None
    return None


def _settle(run: Run, vm: Vm, volumes: list[Volume], verdict: placement.Verdict) -> None:
    vm.host_id = vm.last_host_id = verdict.host_id
    vm.generation += 1
    for volume in volumes:
        volume.pool_id = volume.pool_id or verdict.pool_id
    place_nics(run, verdict.host_id)


def undo_claim(run: Run) -> Outcome:
    """Give back what was claimed: volumes that are not made, or are removed again, need no room in their pool.

    Before, wait until a carrier has told the hosts of a crowd's network that the NIC is gone.
    """
    outcome = await_taken_back(run)
    if isinstance(outcome, Await):
        return outcome
    for volume in volumes_of(run):
        if volume.state == "Allocated" and volume.pool_id is not None:
            placement.release_pool(run.session, volume.pool_id, volume.size)
            volume.pool_id = None
    leave_host(run)
    return outcome


def prepare(run: Run) -> list[Ask]:
    """Make the volumes, and tell every other host of the networks about the new NIC, all at once.

    What starts the domain is computed here too: it holds the views that belong to the generations told now.
    """
    vm = vm_of(run)
    host_id = str(vm.host_id)
    unmade = [disk.volume for disk in disks_of(run) if disk.volume.state in ("Allocated", "Creating")]
    for volume in unmade:
        VOLUME_MOVES.move(volume, "create")
    agent_id, pools = _place_of(run, host_id)
    asks = [
        Ask(agent_id, CreateVolume(volume_spec(disk.volume, pools[disk.volume.id], disk.template, disk.store,
                                               disk.offering or offering_of(run))), vm.generation)
        for disk in disks_of(run) if disk.volume in unmade
    ]  # fmt: skip
    others, own = tell(run, host_id)
    begin_telling(run)
    networks = {network.id: network for _, network in plugs_of(run)}
    offering = offering_of(run)
    disks = [disk_spec(disk.volume, pools[disk.volume.id], disk.offering or offering) for disk in disks_of(run)]
    start = StartVm(vm_spec(vm, nics_of(run), networks, disks, offering), own)
    run.note(start=part(Ask(agent_id, start, vm.generation)))
    return asks + others


def _place_of(run: Run, host_id: str) -> tuple[str, dict[str, StoragePool]]:
    """The agent of the host, and the pool of each volume."""
    volumes = volumes_of(run)
    given = {"host_id": host_id, "pool_ids": [volume.pool_id for volume in volumes]}
    with run.session.no_autoflush:
        rows = run.session.execute(_place_query(), given).all()
    pools = {pool.id: pool for _, pool in rows if pool is not None}
    return rows[0][0], {volume.id: pools[str(volume.pool_id)] for volume in volumes}


@cache
def _place_query() -> Executable:
    held = StoragePool.id.in_(bindparam("pool_ids", expanding=True))
    return select(Host.agent_id, StoragePool).outerjoin(StoragePool, held).where(Host.id == bindparam("host_id"))


def tell_hosts(run: Run) -> Outcome:
    """Wait until a carrier has told all hosts, where `prepare` left it to one. Its undo takes back what they know."""
    return await_told(run)


def unprepare(run: Run) -> Outcome:
    """Remove the volumes that this deployment made, and take the NIC out of every host's view."""
    return _take_back(run, ("Creating", "Ready", "Allocated"))


def untell(run: Run) -> Outcome:
    """As unprepare, for a VM that has run before: only a volume that is not known to be made is removed."""
    return _take_back(run, ("Creating", "Allocated"))


def _take_back(run: Run, states: tuple[str, ...]) -> Outcome:
    vm = vm_of(run)
    if vm.host_id is None:
        return None
    agent_id = agent_of(run, vm.host_id)
    asks: list[Ask] = []
    for disk in disks_of(run):
        if disk.pool is not None and disk.volume.state in states:
            disk.volume.state = "Allocated"
            asks.append(Ask(agent_id, RemoveVolume(disk.volume.id, pool_spec(disk.pool)), vm.generation))
    place_nics(run, None)
    others, own = tell(run, vm.host_id, leaving=True)
    return asks + others + [Ask(agent_id, command, command.view.generation) for command in own]


def start_domain(run: Run) -> list[Ask]:
    """The volumes are made, if they had to be: have the domain started as `prepare` computed it."""
    made = update(Volume).where(Volume.vm_id == run.row.subject_id, Volume.state == "Creating")
    write(run.session, made.values(state=VOLUME_MOVES.table["created"]["Creating"]))
    return [ask_of(run.recall("start"))]


def stop_started(run: Run) -> Outcome:
    """Undo of a start that may or may not have happened: the domain is off and undefined afterwards."""
    vm = vm_of(run)
    if vm.host_id is None:
        return None
    nic_ids = tuple(nic.id for nic in nics_of(run))
    command = StopVm(vm.id, vm.instance_name, forced=True, nic_ids=nic_ids)
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


def mark_running(run: Run) -> Outcome:
    starting, running = next(iter(VM_MOVES.table["started"].items()))
    moved = update(Vm).where(Vm.id == run.row.subject_id, Vm.state == starting)
    if not write(run.session, moved.values(state=running)):
        VM_MOVES.move(vm_of(run), "started")
    return None
