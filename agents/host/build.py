"""Builds a host from its agent's settings: which drivers, with which settings."""

from __future__ import annotations

from pathlib import Path

from agents.config import AgentConfig
from agents.host.host import Host
from agents.journal import Journal
from network.capture import SilentRecording
from network.elements.devices import Devices
from network.elements.simulator import MemoryDevices, MemoryRouter
from network.simulator_switch import SimulatedSwitch
from storage.images.directory import DirectorySettings


def build_host(config: AgentConfig) -> Host:
    """The host of `config`, with the drivers that its `hypervisor` names. Nothing is touched yet."""
    journal = Journal(Path(config.journal), durable=config.hypervisor != "simulator")
    sources = DirectorySettings(allow_networks=config.allow_networks, allowed_directories=config.file_roots)
    if config.kind == "image_store":
        return Host(config.subject_id, journal, None, None, None, sources)
    if config.hypervisor == "simulator":
        return _simulated(config, journal, sources)
    return _real(config, journal, sources)


def _simulated(config: AgentConfig, journal: Journal, sources: DirectorySettings) -> Host:
    from agents.host.hypervisor.simulator import SimulatorHypervisor, SimulatorSettings

    name = config.hostname or config.subject_id
    settings = SimulatorSettings(config.state_dir, name, latency_seconds=config.latency_seconds)
    hypervisor = SimulatorHypervisor(settings)
    switch, routers = SimulatedSwitch(config.subject_id), MemoryRouter()
    host = Host(config.subject_id, journal, switch, routers, hypervisor, sources, MemoryDevices())
    host.underlay_address, host.hostname, host.disk_path = config.underlay_address, config.hostname, config.state_dir
    host.recorder = SilentRecording
    return host


def _real(config: AgentConfig, journal: Journal, sources: DirectorySettings) -> Host:
    from agents.host.hypervisor.libvirt import LibvirtHypervisor, LibvirtSettings
    from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
    from network.ovs import Switch, SwitchSettings

    state = Path(config.state_dir)
    switch = Switch(
        SwitchSettings(
            rundir=Path(config.ovs_rundir),
            host_id=config.subject_id,
            underlay_address=config.underlay_address,
            underlay_device=config.underlay_device,
            state_dir=state / "switch",
            integration_bridge=config.integration_bridge,
            datapath_type="netdev" if config.datapath == "netdev" else "system",
        )
    )
    routers = VirtualRouter(VirtualRouterSettings(state), switch)
    virt_type = config.virt_type if config.virt_type in ("kvm", "qemu") else "auto"
    hypervisor = LibvirtHypervisor(
        LibvirtSettings(
            str(state / "hypervisor"),
            config.libvirt_uri,
            virt_type,  # type: ignore[arg-type]  # narrowed by the line above
            cpu_shares=config.cpu_shares,
        )
    )
    host = Host(config.subject_id, journal, switch, routers, hypervisor, sources, Devices())
    host.underlay_address, host.hostname, host.disk_path = config.underlay_address, config.hostname, config.disk_path
    host.switch_pid_file = str(Path(config.ovs_rundir) / "ovs-vswitchd.pid")
    return host
