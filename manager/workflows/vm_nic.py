"""Workflows of a VM's NICs: add one, remove one, change an address. A running VM has it at once or not at all."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from agents.contract import NicSpec, PlugNic, UnplugNic, VmSpec
from manager.db import write
from manager.models import Network, Nic, NicAddress, Vm
from manager.workflows.carriers import or_owe
from manager.workflows.crowds import LEFT, await_told, leave_to_carrier
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.specs import disk_spec, vm_spec
from manager.workflows.views import Picture, picture
from manager.workflows.vm_read import agent_of, disks_of, offering_of, vm_of
from manager.workflows.vm_start import implement_networks, tell_hosts


def nic_of(run: Run) -> Nic | None:
    return run.session.get(Nic, run.arguments["nic_id"], populate_existing=True)


def begin_adding(_run: Run) -> Outcome:
    """The NIC and its address are the VM's since the call."""
    return None


def drop_nic(run: Run) -> Outcome:
    write(run.session, delete(Nic).where(Nic.id == run.arguments["nic_id"]))
    return None


def is_running(run: Run) -> bool:
    """Whether the VM is on a host, which must know.

    :raises StepFailed: it was not at rest when the job was asked for, and is on its way now
    """
    vm = vm_of(run)
    if vm.state not in ("Running", "Stopped"):
        raise StepFailed(f"The virtual machine {vm.name} is {vm.state}; its NICs can change while Running or Stopped.")
    return vm.state == "Running" and vm.host_id is not None


def put_on(run: Run) -> Outcome:
    """Plug it on the VM's host, and tell the other hosts of its network."""
    vm, nic = vm_of(run), nic_of(run)
    if nic is None or not is_running(run):
        return None
    nic.host_id = vm.host_id
    run.session.flush()
    shown = picture(run.session, nic.network_id, own=None if run.row.undoing else vm.host_id)
    leave_to_carrier(run, nic.network_id, shown)
    spec = spec_with(run, [nic.id])
    plug = PlugNic(spec, nic.id, (shown.commands[str(vm.host_id)],))
    others = or_owe(run, shown.asks(but=vm.host_id), shown.down)
    return [Ask(agent_of(run, str(vm.host_id)), plug, vm.generation), *others]


def take_off(run: Run) -> Outcome:
    """Have the guest let go of it; the others forget it in the next step, for until then it works as before."""
    vm, nic = vm_of(run), nic_of(run)
    if nic is None or not is_running(run):
        return None
    shown = _without(run, nic)
    leave_to_carrier(run, nic.network_id, shown)
    own = tuple(command for host_id, command in shown.commands.items() if host_id == vm.host_id)
    mtu = run.session.get_one(Network, nic.network_id).mtu
    unplug = UnplugNic(spec_with(run, but=nic.id), NicSpec(nic.id, nic.network_id, nic.mac, mtu), own)
    return [Ask(agent_of(run, str(vm.host_id)), unplug, vm.generation)]


def _without(run: Run, nic: Nic) -> Picture:
    vm = vm_of(run)
    nic.host_id = None
    run.session.flush()
    return picture(run.session, nic.network_id, leaving=[str(vm.host_id)], own=vm.host_id)


def tell_all(run: Run) -> Outcome:
    """No undo: the guest has let go."""
    nic = nic_of(run)
    if nic is None or not is_running(run):
        return None
    if run.recall(LEFT):
        return await_told(run)
    shown = picture(run.session, nic.network_id)
    return or_owe(run, shown.asks(), shown.down)


def spec_with(run: Run, first: list[str] | None = None, *, but: str = "") -> VmSpec:
    """The domain with the NICs that are on its host, those of `first` among them, and without `but`."""
    vm = vm_of(run)
    query = select(Nic, Network).join(Network, Network.id == Nic.network_id).where(Nic.vm_id == vm.id)
    rows = run.session.execute(query.order_by(Nic.device)).all()
    nics = [nic for nic, _ in rows if nic.id != but and (nic.host_id is not None or nic.id in (first or ()))]
    networks = {network.id: network for _, network in rows}
    offering = offering_of(run)
    disks = [disk_spec(disk.volume, disk.pool, disk.offering or offering) for disk in disks_of(run) if disk.pool]
    return vm_spec(vm, nics, networks, disks, offering)


add_nic_to_vm = workflow(
    "vm.add_nic",
    Vm,
    [Step(begin_adding, undo=drop_nic), Step(implement_networks), Step(put_on, undo=take_off), Step(tell_hosts)],
)
remove_nic_from_vm = workflow("vm.remove_nic", Vm, [Step(take_off, undo=put_on), Step(tell_all), Step(drop_nic)])


def choose_default(run: Run) -> Outcome:
    vm_id, nic_id = run.row.subject_id, run.arguments["nic_id"]
    write(run.session, update(Nic).where(Nic.vm_id == vm_id).values(is_default=Nic.id == nic_id))
    return None


def choose_former(run: Run) -> Outcome:
    former = run.arguments["former_id"]
    write(run.session, update(Nic).where(Nic.vm_id == run.row.subject_id).values(is_default=Nic.id == former))
    return tell_networks(run)


def tell_networks(run: Run) -> list[Ask]:
    """The routers of all its networks learn which NIC is the one that leads out."""
    run.session.flush()
    asks: list[Ask] = []
    ids = select(Nic.network_id).where(Nic.vm_id == run.row.subject_id).distinct()
    for network_id in sorted(run.session.scalars(ids)):
        asks += picture(run.session, network_id, of_router=True).asks()
    return asks


update_default_nic = workflow("vm.default_nic", Vm, [Step(choose_default), Step(tell_networks, undo=choose_former)])


def set_address(run: Run) -> Outcome:
    vm, nic = vm_of(run), nic_of(run)
    if nic is None or vm.state != "Stopped":
        raise StepFailed(f"The virtual machine {vm.name} is {vm.state}; its addresses can change while it is Stopped.")
    try:
        with run.session.begin_nested():
            nic.address = run.arguments["address"]
    except IntegrityError as error:
        raise StepFailed(f"The address {run.arguments['address']} has been taken meanwhile.", 533) from error
    return None


def tell_nic_network(run: Run) -> list[Ask]:
    return picture(run.session, run.arguments["network_id"]).asks()


def drop_address(run: Run) -> Outcome:
    write(run.session, delete(NicAddress).where(NicAddress.id == run.arguments["address_id"]))
    return None


def withhold_address(run: Run) -> list[Ask]:
    drop_address(run)
    return tell_nic_network(run)


def keep_address(run: Run) -> list[Ask]:
    kept = update(NicAddress).where(NicAddress.id == run.arguments["address_id"])
    write(run.session, kept.values(removing=False))
    return tell_nic_network(run)


add_nic_address = workflow("vm.add_address", Vm, [Step(tell_nic_network, undo=withhold_address)])
remove_nic_address = workflow("vm.remove_address", Vm, [Step(tell_nic_network, undo=keep_address), Step(drop_address)])


update_nic_address = workflow("vm.nic_address", Vm, [Step(set_address)])
