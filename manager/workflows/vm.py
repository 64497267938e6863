"""Workflows of the life of a virtual machine, from its deployment to its expunging; and the reading of its console."""

from __future__ import annotations

from manager.models import Vm
from manager.workflows.engine import Step, workflow
from manager.workflows.vm_end import back_to_destroyed, begin_expunging, mark_destroyed, mark_expunged, remove_volumes
from manager.workflows.vm_restore import again, begin_restoring, discard_root, give_up_restoring, keep_root, renew_root
from manager.workflows.vm_start import (
    begin_starting,
    claim_host,
    give_up_deploy,
    give_up_start,
    implement_networks,
    mark_running,
    prepare,
    start_domain,
    stop_started,
    tell_hosts,
    undo_claim,
    unprepare,
    untell,
)
from manager.workflows.vm_stop import (
    ask_console,
    begin_stopping,
    keep_console,
    mark_stopped,
    reboot_domain,
    replug,
    stay_off,
    stay_running,
    stop_domain,
    tell_others,
)

deploy_vm = workflow(
    "vm.deploy",
    Vm,
    [
        Step(begin_starting, undo=give_up_deploy),
        Step(implement_networks),
        Step(claim_host, undo=undo_claim),
        Step(prepare, undo=unprepare),
        Step(tell_hosts),
        Step(start_domain, undo=stop_started),
        Step(mark_running),
    ],
)

STARTING = [
    Step(begin_starting, undo=give_up_start),
    Step(implement_networks),
    Step(claim_host, undo=undo_claim),
    Step(prepare, undo=untell),
    Step(tell_hosts),
    Step(start_domain, undo=stop_started),
    Step(mark_running),
]

start_vm = workflow("vm.start", Vm, STARTING)

STOPPING = [
    Step(begin_stopping, undo=stay_running),
    Step(stop_domain, undo=replug),
    Step(tell_others, undo=stay_off),
    Step(mark_stopped, undo=stay_off),
]

stop_vm = workflow("vm.stop", Vm, STOPPING)
restore_vm = workflow(
    "vm.restore",
    Vm,
    [
        Step(begin_restoring, undo=give_up_restoring),
        *STOPPING,
        Step(discard_root, undo=keep_root),
        Step(renew_root),
        *(again(step) for step in STARTING),
    ],
)

reboot_vm = workflow("vm.reboot", Vm, [Step(reboot_domain)])

EXPUNGING = [
    Step(begin_expunging, undo=back_to_destroyed),
    Step(remove_volumes),
    Step(mark_expunged),
]

destroy_vm = workflow("vm.destroy", Vm, [*STOPPING, Step(mark_destroyed), *EXPUNGING])
expunge_vm = workflow("vm.expunge", Vm, EXPUNGING)
read_console = workflow("vm.console", Vm, [Step(ask_console, then=keep_console)])
