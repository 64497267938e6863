"""Hardware devices that give services to tenant networks, and which networks are on them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity
from manager.secrets import Sealed

SRX, NETSCALER = "srx", "netscaler"
"""The kinds of devices, as network.hardware names them."""


class HardwareDevice(Entity, Base):
    """A device of a physical network; `kind` is its kind, one subclass for each.

    `guest_port` of it is cabled to the interface `cable` of the host, where `first_vlan` to `last_vlan` are for tenant
    networks. `mac` is that of the port, for all networks. `used` networks are on it, at most `capacity`; both change
    by one guarded UPDATE. A `dedicated` one serves one account at a time: while it has networks, `dedicated_to`.
    """

    __tablename__ = "hardware_devices"
    __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012 - SQLAlchemy's own declaration

    kind: Mapped[str] = mapped_column(STATE)
    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"), index=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"))
    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id"), index=True)
    cable: Mapped[str] = mapped_column(STATE)
    name: Mapped[str]
    address: Mapped[str]
    port: Mapped[int]
    user: Mapped[str]
    password: Mapped[str] = mapped_column(Sealed)
    host_key: Mapped[str] = mapped_column(Text)
    guest_port: Mapped[str]
    public_interface: Mapped[str]
    public_zone: Mapped[str]
    timeout: Mapped[int]
    mac: Mapped[str] = mapped_column(STATE)
    first_vlan: Mapped[int]
    last_vlan: Mapped[int]
    capacity: Mapped[int]
    used: Mapped[int] = mapped_column(default=0)
    dedicated: Mapped[bool] = mapped_column(default=False)
    dedicated_to: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)


class SrxFirewall(HardwareDevice):
    """A Juniper SRX. `public_zone` is the security zone of its public interface."""

    __mapper_args__ = {"polymorphic_identity": SRX}  # noqa: RUF012 - as above


class NetscalerLoadBalancer(HardwareDevice):
    """A NetScaler. Each network on it is a traffic domain of its own."""

    __mapper_args__ = {"polymorphic_identity": NETSCALER}  # noqa: RUF012 - as above


class DeviceNetwork(Base):
    """A tenant network on a device, which is led into it by `vlan` of the device's cable. It has one of each kind."""

    __tablename__ = "device_networks"
    __table_args__ = (UniqueConstraint("device_id", "vlan"),)

    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(STATE, primary_key=True)
    device_id: Mapped[str] = mapped_column(ID, ForeignKey("hardware_devices.id"))
    vlan: Mapped[int]
