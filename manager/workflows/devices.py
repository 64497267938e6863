"""Which hardware devices serve a tenant network, and by which VLAN and address; each claimed by one guarded UPDATE."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import case, delete, or_, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import DeviceNetwork, HardwareDevice, Host, Network, Nic, ServiceProvider
from manager.placement.address import add_nic
from manager.workflows.engine import StepFailed
from network import catalog


class Serving(NamedTuple):
    """A device that a network is on, and the VLAN that leads into it."""

    device: HardwareDevice
    vlan: int


def is_gateway_by_device(services: dict[str, Any]) -> bool:
    """Whether guests of networks with these services leave by a hardware device."""
    return services.get("SourceNat") in catalog.OF_DEVICES


def serving(session: Session, network_id: str) -> dict[str, Serving]:
    """The devices that the network is on, by their ids."""
    query = (
        select(HardwareDevice, DeviceNetwork.vlan)
        .join(DeviceNetwork, DeviceNetwork.device_id == HardwareDevice.id)
        .where(DeviceNetwork.network_id == network_id)
        .execution_options(populate_existing=True)
    )
    return {row[0].id: Serving(row[0], row[1]) for row in session.execute(query)}


def place_devices(session: Session, network: Network, services: dict[str, Any]) -> None:
    """Give the network a device of each kind that its offering names, and the device a NIC in it.

    :raises StepFailed: there is none with room
    :raises NoAddress: the network has no address left for it
    """
    wanted = [provider for provider in catalog.OF_DEVICES if provider in services.values()]
    if not wanted:
        return
    held = {one.device.kind: one.device for one in serving(session, network.id).values()}
    for provider in wanted:
        device = held.get(catalog.OF_DEVICES[provider]) or _claimed(session, network, provider)
        nic = session.scalar(select(Nic).filter_by(network_id=network.id, hardware_id=device.id))
        if nic is None:
            gateway = network.gateway if services.get("SourceNat") == provider else None
            nic_id = add_nic(session, network, wanted=gateway, hardware_id=device.id)
            nic = session.get_one(Nic, nic_id)
        nic.host_id = device.host_id
    session.flush()


def _claimed(session: Session, network: Network, provider: str) -> HardwareDevice:
    """The device of that provider with the fewest networks, which the network now is on.

    :raises StepFailed: there is none with room
    """
    kind = catalog.OF_DEVICES[provider]
    enabled = (ServiceProvider.physical_network_id == HardwareDevice.physical_network_id) & (
        (ServiceProvider.name == provider) & (ServiceProvider.state == "Enabled") & ServiceProvider.removed.is_(None)
    )
    query = (
        select(HardwareDevice)
        .join(ServiceProvider, enabled)
        .join(Host, (Host.id == HardwareDevice.host_id) & (Host.state == "Up"))
        .where(HardwareDevice.physical_network_id == network.physical_network_id, HardwareDevice.kind == kind)
        .where(HardwareDevice.removed.is_(None))
        .order_by(HardwareDevice.used, HardwareDevice.id)
    )
    devices = session.scalars(query).all()
    for device in devices:
        if _claim(session, device, network):
            return device
    found = f"none of {len(devices)} devices has room" if devices else "no device is there whose host is Up"
    raise StepFailed(f"Network {network.name} can have no service by {provider}: {found}.", 533)


def _claim(session: Session, device: HardwareDevice, network: Network) -> bool:
    """Put the network on the device; False when it has no room for it. The device's row stays locked."""
    free = or_(
        HardwareDevice.dedicated.is_(False),
        HardwareDevice.dedicated_to.is_(None),
        HardwareDevice.dedicated_to == network.account_id,
    )
    room = (HardwareDevice.used < HardwareDevice.capacity) & HardwareDevice.removed.is_(None)
    holder = case((HardwareDevice.dedicated.is_(True), network.account_id), else_=None)
    claimed = update(HardwareDevice).where(HardwareDevice.id == device.id, room, free)
    if not write(session, claimed.values(used=HardwareDevice.used + 1, dedicated_to=holder)):
        return False
    vlan = _free_vlan(session, device)
    if vlan is None:
        _release(session, device.id)
        return False
    session.add(DeviceNetwork(network_id=network.id, kind=device.kind, device_id=device.id, vlan=vlan))
    session.flush()
    return True


def _free_vlan(session: Session, device: HardwareDevice) -> int | None:
    taken = set(session.scalars(select(DeviceNetwork.vlan).filter_by(device_id=device.id)))
    return next((vlan for vlan in range(device.first_vlan, device.last_vlan + 1) if vlan not in taken), None)


def _release(session: Session, device_id: str) -> None:
    last = case((HardwareDevice.used <= 1, None), else_=HardwareDevice.dedicated_to)
    # MariaDB takes assignments one after the other, so the count comes last.
    values = [(HardwareDevice.dedicated_to, last), (HardwareDevice.used, HardwareDevice.used - 1)]
    write(session, update(HardwareDevice).where(HardwareDevice.id == device_id).ordered_values(*values))


def forget_devices(session: Session, network_id: str) -> None:
    """No device has the network any more, or ever had: their NICs, VLANs and room are free."""
    mine = select(DeviceNetwork.kind, DeviceNetwork.device_id).where(DeviceNetwork.network_id == network_id)
    # In the order in which they are claimed: who holds one waits for the other alone.
    for kind, device_id in session.execute(mine.order_by(DeviceNetwork.kind.desc())).all():
        gone = delete(DeviceNetwork).where(DeviceNetwork.network_id == network_id, DeviceNetwork.kind == kind)
        if write(session, gone):
            write(session, delete(Nic).where(Nic.network_id == network_id, Nic.hardware_id == device_id))
            _release(session, device_id)


def cabled_hosts(session: Session, network_id: str) -> set[str]:
    """The hosts that devices of the network are cabled to."""
    query = select(HardwareDevice.host_id).join(DeviceNetwork, DeviceNetwork.device_id == HardwareDevice.id)
    return set(session.scalars(query.where(DeviceNetwork.network_id == network_id)))


def plug_devices(session: Session, network_id: str) -> None:
    """The network is to be on its devices."""
    cabled = select(HardwareDevice.host_id).where(HardwareDevice.id == Nic.hardware_id).scalar_subquery()
    _put(session, network_id, cabled)


def unplug_devices(session: Session, network_id: str) -> None:
    """The network is to be taken off its devices; what it was given there stays its own."""
    _put(session, network_id, None)


def _put(session: Session, network_id: str, host_id: Any) -> None:
    theirs = update(Nic).where(Nic.network_id == network_id, Nic.hardware_id.is_not(None))
    write(session, theirs.values(host_id=host_id))
