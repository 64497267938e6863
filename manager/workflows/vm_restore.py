"""Steps of restoring a virtual machine: its root volume is made anew of a template."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from agents.contract import RemoveVolume
from manager.models import Host, Template, Vm, Volume, utcnow
from manager.placement import host as placement
from manager.placement import limits
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed
from manager.workflows.specs import pool_spec
from manager.workflows.vm_read import Disk, disks_of, vm_of

WAS_RUNNING = "was_running"
RENEWED = "renewed"


def begin_restoring(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state not in ("Running", "Stopped"):
        raise StepFailed(f"The virtual machine {vm.id} is {vm.state}; it is restored when Running or Stopped.", 431)
    run.note(**{WAS_RUNNING: vm.state == "Running"})
    return None


def give_up_restoring(run: Run) -> Outcome:
    """Give back what was counted for a larger root volume, if there is none."""
    vm = vm_of(run)
    if vm.state == "Stopped":
        vm.reason = run.row.error or ""
    more = run.arguments["size"] - run.arguments["old_size"]
    if not run.recall(RENEWED) and more > 0:
        limits.release(run.session, vm.account_id, primary_storage=more)
    return None


def discard_root(run: Run) -> Outcome:
    """Remove the old root volume, once the template is known to be there."""
    vm = vm_of(run)
    template = run.session.get_one(Template, run.arguments["template_id"])
    if template.state != "Ready":
        raise StepFailed(f"The template {template.name} ({template.id}) is {template.state}, not Ready.", 431)
    root = _root(run)
    if root is None or root.pool is None:
        return None
    host = run.session.get_one(Host, str(root.pool.host_id or vm.last_host_id))
    if host.removed is not None:
        return None
    root.volume.state = "Expunging"
    return [Ask(host.agent_id, RemoveVolume(root.volume.id, pool_spec(root.pool)), vm.generation)]


def keep_root(run: Run) -> Outcome:
    """Nobody knows whether the volume is gone: the next start leaves it alone, or makes it anew where it lay."""
    root = _root(run)
    if root is not None and root.volume.state == "Expunging":
        root.volume.state = "Allocated"
    return None


def renew_root(run: Run) -> Outcome:
    """Another root volume, made at the next start, takes the place of the old one. No undo: the old one is gone."""
    vm = vm_of(run)
    if run.recall(RENEWED):
        return None
    root = _root(run)
    if root is not None:
        _forget(run, root.volume)
    size, old_size = run.arguments["size"], run.arguments["old_size"]
    if size < old_size:
        limits.release(run.session, vm.account_id, primary_storage=old_size - size)
    template = run.session.get_one(Template, run.arguments["template_id"])
    vm.template_id, vm.os_type_id = template.id, template.os_type_id
    vm.password = run.recall("password")
    run.session.add(_new_root(vm, size, root.volume.disk_offering_id if root is not None else None))
    run.session.flush()
    run.cache.pop("disks", None)
    run.note(**{RENEWED: True})
    return None


def _root(run: Run) -> Disk | None:
    return next((disk for disk in disks_of(run) if disk.volume.type == "ROOT"), None)


def _forget(run: Run, volume: Volume) -> None:
    if volume.pool_id is not None:
        placement.release_pool(run.session, volume.pool_id, volume.size)
    volume.state, volume.removed, volume.live = "Expunged", utcnow(), None


def _new_root(vm: Vm, size: int, offering_id: str | None) -> Volume:
    return Volume(
        name=f"ROOT-{vm.number}",
        account_id=vm.account_id,
        zone_id=vm.zone_id,
        vm_id=vm.id,
        template_id=vm.template_id,
        disk_offering_id=offering_id,
        size=size,
    )


def again(step: Step) -> Step:
    """The step of a start, taken only for a VM that ran before."""
    return Step(_if_it_ran(step.do), _if_it_ran(step.undo) if step.undo else None, step.then)


def _if_it_ran(function: Callable[[Run], Outcome]) -> Callable[[Run], Outcome]:
    @wraps(function)
    def taken(run: Run) -> Outcome:
        return function(run) if run.recall(WAS_RUNNING) else None

    return taken
