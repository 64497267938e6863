"""Workflows of the life of a virtual machine: deploy, start, stop, reboot, destroy, expunge, read its console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import delete, select, update
from sqlalchemy.orm import defer

from agents.contract import (
    ApplyNetwork,
    CreateVolume,
    ReadConsole,
    RebootVm,
    RemoveVolume,
    StartVm,
    StopVm,
    command_from,
    to_plain,
)
from manager.db import write
from manager.models import Host, ImageStore, Network, Nic, ServiceOffering, StoragePool, Template, Vm, Volume, utcnow
from manager.models.states import VM_MOVES, VOLUME_MOVES
from manager.placement import host as placement
from manager.placement import limits
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.network import await_implemented
from manager.workflows.specs import pool_spec, vm_spec, volume_spec
from manager.workflows.views import picture

STOP_GRACE = 60
CONSOLE_BYTES = 65536
CLAIM_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume of the VM with what is made of it: its pool once it has one, its template and that one's store."""

    volume: Volume
    pool: StoragePool | None
    template: Template | None
    store: ImageStore | None


def vm_of(run: Run) -> Vm:
    vm: Vm = _read(run)[0]
    return vm


def offering_of(run: Run) -> ServiceOffering:
    offering: ServiceOffering = _read(run)[1]
    return offering


def plugs_of(run: Run) -> list[tuple[Nic, Network]]:
    """The VM's NICs, each with its network."""
    plugs: list[tuple[Nic, Network]] = _read(run)[2]
    return plugs


def _read(run: Run) -> Any:
    """The VM, its offering and its plugs, read in one statement and once a visit."""
    if "vm" not in run.cache:
        query = (
            select(Vm, ServiceOffering, Nic, Network)
            .join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
            .outerjoin(Nic, Nic.vm_id == Vm.id)
            .outerjoin(Network, Network.id == Nic.network_id)
            .where(Vm.id == run.row.subject_id)
            .order_by(Nic.device)
            .options(defer(Vm.user_data), defer(Vm.public_keys))
        )
        rows = run.session.execute(query).all()
        run.cache["vm"] = (rows[0][0], rows[0][1], [(row[2], row[3]) for row in rows if row[2] is not None])
    return run.cache["vm"]


def disks_of(run: Run) -> list[Disk]:
    query = (
        select(Volume, StoragePool, Template, ImageStore)
        .outerjoin(StoragePool, StoragePool.id == Volume.pool_id)
        .outerjoin(Template, Template.id == Volume.template_id)
        .outerjoin(ImageStore, ImageStore.id == Template.image_store_id)
        .where(Volume.vm_id == run.row.subject_id, Volume.removed.is_(None))
        .order_by(Volume.device)
    )
    if "disks" not in run.cache:
        run.cache["disks"] = [Disk(*row) for row in run.session.execute(query)]
    return cast("list[Disk]", run.cache["disks"])


def volumes_of(run: Run) -> list[Volume]:
    return [disk.volume for disk in disks_of(run)]


def nics_of(run: Run) -> list[Nic]:
    return [nic for nic, _ in plugs_of(run)]


def networks_of(run: Run) -> list[str]:
    """The ids of the VM's networks, in the one order in which everybody locks them."""
    return sorted({nic.network_id for nic in nics_of(run)})


def place_nics(run: Run, host_id: str | None) -> None:
    for nic in nics_of(run):
        nic.host_id = host_id


def agent_of(run: Run, host_id: str) -> str:
    agent_id = run.session.scalar(select(Host.agent_id).where(Host.id == host_id))
    return str(agent_id)


# --- starting -------------------------------------------------------------------------------------------------------


def begin_starting(run: Run) -> Outcome:
    vm = vm_of(run)
    VM_MOVES.move(vm, "start")
    vm.reason = ""
    return None


def give_up_deploy(run: Run) -> Outcome:
    """The deployed VM stays to be seen, in Error with its reason; it holds nothing any more."""
    vm = vm_of(run)
    if vm.state != "Error":
        VM_MOVES.move(vm, "fail")
        vm.reason = run.row.error or ""
        _forget_holdings(run, vm)
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
    return placement.Need(
        zone_id=vm.zone_id,
        hypervisor=vm.hypervisor,
        cpus=vm.cpus,
        cpu_mhz=vm.cpus * vm.cpu_mhz,
        memory=vm.memory,
        disk=sum(volume.size for volume in volumes if volume.pool_id is None),
        host_tags=offering.host_tags,
        storage_tags=offering.storage_tags,
        host_id=run.arguments.get("host_id"),
        pool_id=next((volume.pool_id for volume in volumes if volume.pool_id), None),
        account_id=vm.account_id,
    )


def claim_host(run: Run) -> Outcome:
    """Take the best host that still has room, and room in its pool; every refusal keeps its reason."""
    vm = vm_of(run)
    if vm.host_id is not None:
        return None
    volumes = volumes_of(run)
    need = need_of(run, vm, volumes)
    for attempt in range(CLAIM_ATTEMPTS):
        verdicts = placement.judge(run.session, need)
        verdict = _claim_best(run, need, verdicts, as_judged=attempt < CLAIM_ATTEMPTS - 1)
        if verdict is not None:
            _settle(run, vm, volumes, verdict)
            return None
        if not any(one.fits for one in verdicts):
            break
    told = "; ".join(f"{v.host_name}: {v.reason or 'taken by others meanwhile'}" for v in verdicts)
    raise StepFailed(f"No host has room for {vm.name}. {told or 'The zone has no hosts'}.", 533)


def _claim_best(
    run: Run, need: placement.Need, verdicts: list[placement.Verdict], *, as_judged: bool
) -> placement.Verdict | None:
    """The best host, claimed; with `as_judged` none but the best, and only while nobody else has claimed there."""
    for verdict in verdicts:
        if not verdict.fits:
            return None
        if placement.claim(run.session, need, verdict, as_judged=as_judged):
            if not need.disk or placement.claim_pool(run.session, str(verdict.pool_id), need.disk):
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


def leave_host(run: Run) -> Outcome:
    """Give back the host's CPU and memory; nothing runs there any more."""
    vm = vm_of(run)
    if vm.host_id is not None:
        placement.release(run.session, vm.host_id, vm.cpus * vm.cpu_mhz, vm.memory)
        place_nics(run, None)
        vm.host_id = None
    return None


def leave_host_and_pool(run: Run) -> Outcome:
    """Undo of the first claim of all: the volumes were never made, or are removed, so their room is free too."""
    for volume in volumes_of(run):
        if volume.state == "Allocated" and volume.pool_id is not None:
            placement.release_pool(run.session, volume.pool_id, volume.size)
            volume.pool_id = None
    return leave_host(run)


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
        Ask(agent_id, CreateVolume(volume_spec(disk.volume, pools[disk.volume.id], disk.template, disk.store)),
            vm.generation)
        for disk in disks_of(run) if disk.volume in unmade
    ]  # fmt: skip
    others, own = _tell(run, host_id)
    networks = {network.id: network for _, network in plugs_of(run)}
    start = StartVm(vm_spec(vm, nics_of(run), networks, volumes_of(run), pools), own)
    run.note(start=_part(Ask(agent_id, start, vm.generation)))
    return asks + others


def _place_of(run: Run, host_id: str) -> tuple[str, dict[str, StoragePool]]:
    """The agent of the host, and the pool of each volume."""
    volumes = volumes_of(run)
    held = StoragePool.id.in_({volume.pool_id for volume in volumes})
    query = select(Host.agent_id, StoragePool).outerjoin(StoragePool, held).where(Host.id == host_id)
    rows = run.session.execute(query).all()
    pools = {pool.id: pool for _, pool in rows if pool is not None}
    return rows[0][0], {volume.id: pools[str(volume.pool_id)] for volume in volumes}


def _tell(run: Run, host_id: str, *, leaving: bool = False) -> tuple[list[Ask], tuple[ApplyNetwork, ...]]:
    """Commands to the other hosts of the VM's networks, and those for its own host, to go with another command."""
    own = []
    asks: list[Ask] = []
    for network_id in networks_of(run):
        shown = picture(run.session, network_id, leaving=[host_id] if leaving else ())
        asks += shown.asks(but=host_id)
        if host_id in shown.commands:
            own.append(shown.commands[host_id])
    return asks, tuple(own)


def _part(ask: Ask) -> list[object]:
    return [ask.agent_id, ask.command.name, to_plain(ask.command), ask.generation]


def _ask(part: Any) -> Ask:
    """The ask that `_part` took apart to be noted."""
    agent_id, name, plain, generation = part
    return Ask(agent_id, command_from(name, plain), generation)


def unprepare(run: Run) -> Outcome:
    """Remove the volumes that this deployment made, and take the NIC out of every host's view."""
    vm = vm_of(run)
    if vm.host_id is None:
        return None
    agent_id = agent_of(run, vm.host_id)
    asks: list[Ask] = []
    for disk in disks_of(run):
        if disk.pool is not None:
            disk.volume.state = "Allocated"
            asks.append(Ask(agent_id, RemoveVolume(disk.volume.id, pool_spec(disk.pool)), vm.generation))
    return asks + _untell(run, vm)


def untell(run: Run) -> Outcome:
    vm = vm_of(run)
    return _untell(run, vm) if vm.host_id is not None else None


def _untell(run: Run, vm: Vm) -> list[Ask]:
    place_nics(run, None)
    asks: list[Ask] = []
    for network_id in networks_of(run):
        asks += picture(run.session, network_id, leaving=[str(vm.host_id)]).asks()
    return asks


def start_domain(run: Run) -> list[Ask]:
    """The volumes are made, if they had to be: have the domain started as `prepare` computed it."""
    made = update(Volume).where(Volume.vm_id == run.row.subject_id, Volume.state == "Creating")
    write(run.session, made.values(state=VOLUME_MOVES.table["created"]["Creating"]))
    return [_ask(run.recall("start"))]


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


deploy_vm = workflow(
    "vm.deploy",
    Vm,
    [
        Step(begin_starting, undo=give_up_deploy),
        Step(implement_networks),
        Step(claim_host, undo=leave_host_and_pool),
        Step(prepare, undo=unprepare),
        Step(start_domain, undo=stop_started),
        Step(mark_running),
    ],
)

start_vm = workflow(
    "vm.start",
    Vm,
    [
        Step(begin_starting, undo=give_up_start),
        Step(implement_networks),
        Step(claim_host, undo=leave_host),
        Step(prepare, undo=untell),
        Step(start_domain, undo=stop_started),
        Step(mark_running),
    ],
)


# --- stopping -------------------------------------------------------------------------------------------------------


def begin_stopping(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state == "Running":
        VM_MOVES.move(vm, "stop")
        vm.reason = run.arguments.get("reason", "")
    return None


def stay_running(run: Run) -> Outcome:
    """The agent could not stop it: it counts as running, in its place, until it is known to be off."""
    vm = vm_of(run)
    if vm.state == "Stopping":
        VM_MOVES.move(vm, "stay")
        vm.reason = run.row.error or ""
    return None


def stop_domain(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Stopping" or vm.host_id is None:
        return None
    place_nics(run, None)
    others, own = _tell(run, vm.host_id, leaving=True)
    run.note(others=[_part(ask) for ask in others])
    command = StopVm(
        vm.id,
        vm.instance_name,
        forced=bool(run.arguments.get("forced")),
        grace=STOP_GRACE,
        nic_ids=tuple(nic.id for nic in nics_of(run)),
        networks=own,
    )
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


def replug(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Stopping" or vm.host_id is None:
        return None
    place_nics(run, vm.host_id)
    asks: list[Ask] = []
    for network_id in networks_of(run):
        asks += picture(run.session, network_id).asks()
    return asks


def tell_others(run: Run) -> list[Ask]:
    """Now that the guest is off, the other hosts forget its NIC. No undo: the guest is off whatever comes."""
    return [_ask(part) for part in run.recall("others") or ()]


def mark_stopped(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state == "Stopping":
        leave_host(run)
        VM_MOVES.move(vm, "stopped")
    return None


STOPPING = [
    Step(begin_stopping, undo=stay_running),
    Step(stop_domain, undo=replug),
    Step(tell_others),
    Step(mark_stopped),
]

stop_vm = workflow("vm.stop", Vm, STOPPING)


def reboot_domain(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Running" or vm.host_id is None:
        raise StepFailed(f"The virtual machine {vm.id} is {vm.state}; only a Running one can be rebooted.", 431)
    command = RebootVm(vm.id, vm.instance_name, forced=bool(run.arguments.get("forced")))
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


reboot_vm = workflow("vm.reboot", Vm, [Step(reboot_domain)])


def ask_console(run: Run) -> Outcome:
    vm = vm_of(run)
    host_id = vm.host_id or vm.last_host_id
    if host_id is None:
        raise StepFailed(f"The virtual machine {vm.id} has never run, so it has no console output.", 431)
    return [Ask(agent_of(run, host_id), ReadConsole(vm.id, vm.instance_name, CONSOLE_BYTES), vm.generation)]


def keep_console(run: Run, answers: list[object]) -> None:
    run.note(output=str(answers[0]))


# --- the end --------------------------------------------------------------------------------------------------------


def mark_destroyed(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state in ("Stopped", "Error"):
        was_error = vm.state == "Error"
        VM_MOVES.move(vm, "destroy")
        if not was_error:
            limits.release(run.session, vm.account_id, vms=1, cpus=vm.cpus, memory=vm.memory)
    return None


def begin_expunging(run: Run) -> Outcome:
    vm = vm_of(run)
    if not run.arguments.get("expunge"):
        return None
    VM_MOVES.move(vm, "expunge")
    return None


def remove_volumes(run: Run) -> Outcome:
    """No undo: a volume whose removal was begun is not to be trusted; expunging is tried until it succeeds.

    The volumes of a host that was removed from the cloud are gone with it.
    """
    vm = vm_of(run)
    if vm.state != "Expunging":
        return None
    asks: list[Ask] = []
    for disk in disks_of(run):
        if disk.pool is not None:
            disk.volume.state = "Expunging"
            host = run.session.get_one(Host, str(disk.pool.host_id or vm.last_host_id))
            if host.removed is None:
                asks.append(Ask(host.agent_id, RemoveVolume(disk.volume.id, pool_spec(disk.pool)), vm.generation))
    return asks


def back_to_destroyed(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state == "Expunging":
        vm.state = "Destroyed"
        vm.reason = run.row.error or ""
    return None


def mark_expunged(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Expunging" or vm.removed is not None:
        return None
    _forget_holdings(run, vm, counted=True)
    vm.remove()
    return None


def _forget_holdings(run: Run, vm: Vm, *, counted: bool = False) -> None:
    """Free addresses and volumes in the database. `counted`: the VM itself is off the account's count already."""
    volumes = volumes_of(run)
    for volume in volumes:
        if volume.pool_id is not None:
            placement.release_pool(run.session, volume.pool_id, volume.size)
        volume.state, volume.removed, volume.live = "Expunged", utcnow(), None
    write(run.session, delete(Nic).where(Nic.vm_id == vm.id))
    held = {"volumes": len(volumes), "primary_storage": sum(volume.size for volume in volumes)}
    if not counted:
        held |= {"vms": 1, "cpus": vm.cpus, "memory": vm.memory}
    limits.release(run.session, vm.account_id, **held)


EXPUNGING = [
    Step(begin_expunging, undo=back_to_destroyed),
    Step(remove_volumes),
    Step(mark_expunged),
]

destroy_vm = workflow("vm.destroy", Vm, [*STOPPING, Step(mark_destroyed), *EXPUNGING])
expunge_vm = workflow("vm.expunge", Vm, EXPUNGING)
read_console = workflow("vm.console", Vm, [Step(ask_console, then=keep_console)])
