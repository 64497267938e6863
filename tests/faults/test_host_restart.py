"""What an agent does when it, the switch or the whole host was started anew: the journal tells what belongs there."""

from __future__ import annotations

import os

import msgspec
import pytest

from agents.config import AgentConfig
from agents.contract import ApplyNetwork, NicSpec, StartVm, VmSpec
from agents.envelope import load_key, make_key, public_text
from agents.host.build import build_host
from agents.host.vm import start_vm
from agents.main import RESTORE_ATTEMPTS, Agent, NotRestored
from agents.outbox import Outbox
from network.types import GuestLeg, NetworkView, NicView, RouterSpec

NIC = NicView("nic-1", "02:00:00:00:00:01", "10.1.1.11", "host-1")
ROUTER_NIC = NicView("nic-r", "02:00:00:00:00:02", "10.1.1.1", "host-1", "router")


def config(directory) -> AgentConfig:
    make_key(directory / "agent.pem")
    return AgentConfig(
        agent_id="agent-1", kind="host", subject_id="host-1", broker_url="memory://",
        manager_public_key=public_text(load_key(directory / "agent.pem")), hypervisor="simulator",
        private_key_file=str(directory / "agent.pem"), journal=str(directory / "journal.db"), state_dir=str(directory),
    )  # fmt: skip


def view(generation: int, *nics: NicView) -> NetworkView:
    return NetworkView("net-1", 7, generation, "10.1.1.0/24", "10.1.1.1", 1500, nics)


def guest(name: str) -> VmSpec:
    return VmSpec(name, f"i-{name}", 1, 1, 2**27, nics=(NicSpec(f"nic-{name[-1]}", "net-1", NIC.mac, 1500),))


def router(generation: int) -> RouterSpec:
    leg = GuestLeg("net-1", ROUTER_NIC, "10.1.1.0/24", 1500, "cloud.test")
    return RouterSpec("router-1", generation, (leg,))


@pytest.fixture
def running(tmp_path):
    """A host with a guest and a router, which loses its switch and its routers with its process."""
    host = build_host(config(tmp_path))
    network = ApplyNetwork(view(1, NIC, ROUTER_NIC), router(1))
    start_vm(host, StartVm(guest("vm-1"), (network,)))
    host.journal.close()
    return build_host(config(tmp_path))


def test_a_restarted_agent_plugs_and_applies_what_the_journal_holds(running):
    running.resume()
    assert list(running.switch.ports()) == ["nic-1"]
    assert running.switch.drift([view(1, NIC, ROUTER_NIC)]) == []
    assert running.routers.list() == ["router-1"]


def test_a_rebooted_host_starts_its_guests(running):
    running.hypervisor.stop("vm-1", forced=True, grace=0)
    assert running.restore() == {}
    assert [domain.vm_id for domain in running.hypervisor.domains()] == ["vm-1"]
    assert list(running.switch.ports()) == ["nic-1"]


def test_one_guest_that_cannot_start_keeps_no_other_down(running, monkeypatch):
    running.hypervisor.stop("vm-1", forced=True, grace=0)
    running.journal.want("vm", "vm-0", 1, guest("vm-0"))
    start = running.hypervisor.start
    refuse = OSError("The disk is gone.")

    def start_but_one(vm, disks):
        if vm.id == "vm-0":
            raise refuse
        start(vm, disks)

    monkeypatch.setattr(running.hypervisor, "start", start_but_one)
    assert running.restore() == {"vm-0": "The disk is gone."}
    assert [domain.vm_id for domain in running.hypervisor.domains()] == ["vm-1"]
    assert list(running.switch.ports()) == ["nic-1"]


def test_a_router_that_was_being_removed_is_removed_by_the_next_try(running, monkeypatch):
    running.resume()
    with monkeypatch.context() as patch:
        patch.setattr(running.routers, "remove", lambda _id: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            running.hold((ApplyNetwork(view(2, NIC)),))
    running.hold((ApplyNetwork(view(2, NIC)),))
    assert running.routers.list() == []


@pytest.fixture
def agent(tmp_path):
    return Agent(config(tmp_path), None, Outbox(None))


def test_a_host_with_a_hopeless_guest_serves_after_some_tries(agent, monkeypatch):
    agent.config = msgspec.structs.replace(agent.config, hypervisor="libvirt")
    monkeypatch.setattr(agent.host, "restore", lambda: {"vm-0": "The disk is gone."})
    for _ in range(RESTORE_ATTEMPTS - 1):
        with pytest.raises(NotRestored, match="The disk is gone"):
            agent.restore_after_reboot()
    agent.restore_after_reboot()
    assert agent.host.journal.fact("boot") == agent.host.boot_mark


def test_a_switch_that_was_started_anew_gets_its_flows_once(agent, tmp_path, monkeypatch):
    pid_file = tmp_path / "ovs-vswitchd.pid"
    agent.host.switch_pid_file = str(pid_file)
    resumed = []
    monkeypatch.setattr(agent.host, "resume", lambda: resumed.append(agent.host.switch_mark))
    agent.watch_switch()
    assert resumed == []
    pid_file.write_text("17\n")
    agent.watch_switch()
    agent.watch_switch()
    assert len(resumed) == 1
    os.utime(pid_file, (1, 1))  # started anew under the same number
    monkeypatch.setattr(agent.host, "resume", lambda: (_ for _ in ()).throw(OSError("not yet")))
    with pytest.raises(OSError, match="not yet"):
        agent.watch_switch()
    monkeypatch.setattr(agent.host, "resume", lambda: resumed.append(agent.host.switch_mark))
    agent.watch_switch()
    assert len(resumed) == 2
