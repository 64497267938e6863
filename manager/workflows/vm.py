"""Workflows of the life of a virtual machine: deploy, start, stop, reboot, destroy, expunge, read its console."""

from __future__ import annotations

from sqlalchemy import delete, select, update

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


def vm_of(run: Run) -> Vm:
    vm: Vm = run.subject(Vm)
    return vm


def nics_of(run: Run) -> list[Nic]:
    query = select(Nic).filter_by(vm_id=run.row.subject_id).order_by(Nic.device)
    return list(run.session.scalars(query))


def volumes_of(run: Run) -> list[Volume]:
    query = select(Volume).filter_by(vm_id=run.row.subject_id, removed=None).order_by(Volume.device)
    return list(run.session.scalars(query))


def agent_of(run: Run, host_id: str) -> str:
    return run.session.get_one(Host, host_id).agent_id


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
    for network in run.session.scalars(select(Network).join(Nic).where(Nic.vm_id == run.row.subject_id)).unique():
        wait = await_implemented(run, network)
        if wait is not None:
            return wait
    return None


def need_of(run: Run, vm: Vm, volumes: list[Volume]) -> placement.Need:
    offering = run.session.get_one(ServiceOffering, vm.service_offering_id)
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
    write(run.session, update(Nic).where(Nic.vm_id == vm.id).values(host_id=verdict.host_id))


def leave_host(run: Run) -> Outcome:
    """Give back the host's CPU and memory; nothing runs there any more."""
    vm = vm_of(run)
    if vm.host_id is not None:
        placement.release(run.session, vm.host_id, vm.cpus * vm.cpu_mhz, vm.memory)
        write(run.session, update(Nic).where(Nic.vm_id == vm.id).values(host_id=None))
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
    """Make the volumes, and tell every other host of the networks about the new NIC, all at once."""
    vm = vm_of(run)
    host_id = str(vm.host_id)
    agent_id = agent_of(run, host_id)
    asks: list[Ask] = []
    for volume in volumes_of(run):
        if volume.state in ("Allocated", "Creating"):
            VOLUME_MOVES.move(volume, "create")
            asks.append(Ask(agent_id, CreateVolume(_volume_spec(run, volume)), vm.generation))
    asks += _tell(run, host_id)
    return asks


def _tell(run: Run, host_id: str, *, leaving: bool = False) -> list[Ask]:
    """Commands to the other hosts of the VM's networks; the own host's commands are kept in memory for it."""
    own = []
    asks: list[Ask] = []
    for network_id in sorted({nic.network_id for nic in nics_of(run)}):
        shown = picture(run.session, network_id, leaving=[host_id] if leaving else ())
        asks += shown.asks(but=host_id)
        if host_id in shown.commands:
            own.append(to_plain(shown.commands[host_id]))
    run.note(own=own)
    return asks


def _own_networks(run: Run) -> tuple[ApplyNetwork, ...]:
    commands = [command_from(ApplyNetwork.name, plain) for plain in run.recall("own") or ()]
    return tuple(command for command in commands if isinstance(command, ApplyNetwork))


def _volume_spec(run: Run, volume: Volume):  # type: ignore[no-untyped-def]  # noqa: ANN202 - specs.volume_spec's own
    pool = run.session.get_one(StoragePool, volume.pool_id)
    template = run.session.get(Template, volume.template_id) if volume.template_id else None
    store = run.session.get(ImageStore, template.image_store_id) if template and template.image_store_id else None
    return volume_spec(volume, pool, template, store)


def volumes_made(run: Run, _answers: list[object]) -> None:
    for volume in volumes_of(run):
        VOLUME_MOVES.move(volume, "created")


def unprepare(run: Run) -> Outcome:
    """Remove the volumes that this deployment made, and take the NIC out of every host's view."""
    vm = vm_of(run)
    if vm.host_id is None:
        return None
    agent_id = agent_of(run, vm.host_id)
    asks: list[Ask] = []
    for volume in volumes_of(run):
        if volume.pool_id is not None:
            volume.state = "Allocated"
            pool = run.session.get_one(StoragePool, volume.pool_id)
            asks.append(Ask(agent_id, RemoveVolume(volume.id, pool_spec(pool)), vm.generation))
    return asks + _untell(run, vm)


def untell(run: Run) -> Outcome:
    vm = vm_of(run)
    return _untell(run, vm) if vm.host_id is not None else None


def _untell(run: Run, vm: Vm) -> list[Ask]:
    write(run.session, update(Nic).where(Nic.vm_id == vm.id).values(host_id=None))
    asks: list[Ask] = []
    for network_id in sorted({nic.network_id for nic in nics_of(run)}):
        asks += picture(run.session, network_id, leaving=[str(vm.host_id)]).asks()
    return asks


def start_domain(run: Run) -> list[Ask]:
    vm = vm_of(run)
    pools = {volume.id: run.session.get_one(StoragePool, volume.pool_id) for volume in volumes_of(run)}
    networks = {nic.network_id: run.session.get_one(Network, nic.network_id) for nic in nics_of(run)}
    spec = vm_spec(vm, nics_of(run), networks, volumes_of(run), pools)
    return [Ask(agent_of(run, str(vm.host_id)), StartVm(spec, _own_networks(run)), vm.generation)]


def stop_started(run: Run) -> Outcome:
    """Undo of a start that may or may not have happened: the domain is off and undefined afterwards."""
    vm = vm_of(run)
    if vm.host_id is None:
        return None
    nic_ids = tuple(nic.id for nic in nics_of(run))
    command = StopVm(vm.id, vm.instance_name, forced=True, nic_ids=nic_ids)
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


def mark_running(run: Run) -> Outcome:
    VM_MOVES.move(vm_of(run), "started")
    return None


deploy_vm = workflow(
    "vm.deploy",
    Vm,
    [
        Step(begin_starting, undo=give_up_deploy),
        Step(implement_networks),
        Step(claim_host, undo=leave_host_and_pool),
        Step(prepare, undo=unprepare, then=volumes_made),
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
        Step(prepare, undo=untell, then=volumes_made),
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
    write(run.session, update(Nic).where(Nic.vm_id == vm.id).values(host_id=None))
    run.note(others=_parts(_tell(run, vm.host_id, leaving=True)))
    command = StopVm(
        vm.id,
        vm.instance_name,
        forced=bool(run.arguments.get("forced")),
        grace=STOP_GRACE,
        nic_ids=tuple(nic.id for nic in nics_of(run)),
        networks=_own_networks(run),
    )
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


def _parts(asks: list[Ask]) -> list[list[object]]:
    return [[ask.agent_id, to_plain(ask.command), ask.generation] for ask in asks]


def replug(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Stopping" or vm.host_id is None:
        return None
    write(run.session, update(Nic).where(Nic.vm_id == vm.id).values(host_id=vm.host_id))
    asks: list[Ask] = []
    for network_id in sorted({nic.network_id for nic in nics_of(run)}):
        asks += picture(run.session, network_id).asks()
    return asks


def tell_others(run: Run) -> list[Ask]:
    """Now that the guest is off, the other hosts forget its NIC. No undo: the guest is off whatever comes."""
    parts = run.recall("others") or ()
    return [Ask(agent, command_from(ApplyNetwork.name, plain), generation) for agent, plain, generation in parts]


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
    for volume in volumes_of(run):
        if volume.pool_id is not None:
            volume.state = "Expunging"
            pool = run.session.get_one(StoragePool, volume.pool_id)
            host = run.session.get_one(Host, str(pool.host_id or vm.last_host_id))
            if host.removed is None:
                asks.append(Ask(host.agent_id, RemoveVolume(volume.id, pool_spec(pool)), vm.generation))
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
