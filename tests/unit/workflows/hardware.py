"""Hardware devices beside the simulated cloud: what answers for them there, and what their host was told of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from agents.contract import command_from
from agents.inquiry import InspectDevice
from agents.runner import HANDLERS
from manager.db import transaction
from manager.models import AgentCommandRow, HardwareDevice, Host, NetscalerLoadBalancer, ServiceProvider, SrxFirewall
from network.errors import DeviceRefusedError, DeviceUnreachableError
from network.hardware import DeviceFacts, DevicePart
from tests.unit.workflows.cloud import Cloud

MACS = {"srx": "02:00:5e:00:00:01", "netscaler": "02:00:5e:00:00:02"}
SILENT, STRICT = "192.0.2.66", "192.0.2.67"
"""Addresses of devices that do not answer, or refuse the login."""


def answer(_host: Any, command: InspectDevice) -> DeviceFacts:
    if command.device.host == SILENT:
        raise DeviceUnreachableError(f"The device {SILENT} does not answer on port {command.device.port}.")
    if command.device.host == STRICT:
        raise DeviceRefusedError(f"The device {STRICT} refuses the login of {command.device.user}.")
    return DeviceFacts(MACS[command.device.kind], f"{command.device.kind}-1")


def play_devices(monkeypatch: Any) -> None:
    """Have simulated hosts find the devices that they are asked to look at."""
    monkeypatch.setitem(HANDLERS, InspectDevice, answer)


def add_devices(cloud: Cloud, **more: Any) -> dict[str, str]:
    """A firewall at the first host and a load balancer at the second, with their providers; ids by kind."""
    found = {}
    kinds: tuple[tuple[type[HardwareDevice], str, str], ...] = (
        (SrxFirewall, "srx", "JuniperSRX"), (NetscalerLoadBalancer, "netscaler", "Netscaler"),
    )  # fmt: skip
    with transaction() as s:
        for number, (model, kind, provider) in enumerate(kinds):
            s.add(ServiceProvider(physical_network_id=cloud.physical_id, name=provider))
            device = model(
                kind=kind, physical_network_id=cloud.physical_id, zone_id=cloud.zone_id, host_id=cloud.hosts[number],
                cable="eth9", name=kind, address=f"192.0.2.{90 + number}", port=443, user="root", password="secret",
                host_key="", guest_port="1/2", public_interface="1/1", public_zone="untrust", timeout=5,
                mac=MACS[kind], **{"first_vlan": 100, "last_vlan": 103, "capacity": 4, **more},
            )  # fmt: skip
            s.add(device)
            s.flush()
            found[kind] = device.id
    return found


def parts_of(cloud: Cloud, network_id: str) -> dict[str, DevicePart]:
    """By kind of device: what the hosts were told last of the network on it; all that they were told counts."""
    found: dict[str, DevicePart] = {}
    with transaction() as s:
        agents = {row.id: row.agent_id for row in s.execute(select(Host.id, Host.agent_id))}
        for host_id in cloud.hosts:
            query = select(AgentCommandRow).filter_by(agent_id=agents[host_id], subject=f"network:{network_id}")
            row = s.scalars(query.order_by(AgentCommandRow.sequence.desc())).first()
            if row is not None:
                command: Any = command_from(row.name, row.arguments)
                found |= {part.device.kind: part for part in command.devices}
    return found
