"""The workflow that takes a hardware device in: its host looks at it first, and a row of it exists after that."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from agents.inquiry import InspectDevice
from manager.models import HardwareDevice, Host, NetscalerLoadBalancer, ServiceProvider, SrxFirewall, WorkflowRow
from manager.models.hardware import NETSCALER, SRX
from manager.workflows.engine import Ask, Run, Step, StepFailed, Workflow, workflow
from network import catalog
from network.hardware import Device, DeviceFacts

KINDS: dict[str, type[HardwareDevice]] = {SRX: SrxFirewall, NETSCALER: NetscalerLoadBalancer}
PROVIDERS = {kind: provider for provider, kind in catalog.OF_DEVICES.items()}


def as_told(device: HardwareDevice) -> Device:
    """The device as its host's agent must know it."""
    kind: Any = device.kind
    return Device(
        id=device.id,
        kind=kind,
        host=device.address,
        port=device.port,
        user=device.user,
        password=device.password,
        guest_port=device.guest_port,
        public_interface=device.public_interface,
        public_zone=device.public_zone,
        host_key=device.host_key,
        timeout=device.timeout,
    )


def provider_of(session: Session, kind: str, physical_network_id: str) -> ServiceProvider | None:
    """The provider that devices of the kind belong to there, held until the transaction ends."""
    query = select(ServiceProvider).filter_by(
        name=PROVIDERS[kind], physical_network_id=physical_network_id, removed=None
    )
    return session.scalar(query.with_for_update())


def _described(run: Run) -> HardwareDevice:
    """The device as it was asked for, in no session."""
    values = run.recall("device")
    return KINDS[values["kind"]](id=run.row.subject_id, mac="", **values)


def inspect_device(run: Run) -> list[Ask]:
    device = _described(run)
    agent_id = run.session.scalars(select(Host.agent_id).filter_by(id=device.host_id)).one()
    return [Ask(agent_id, InspectDevice(as_told(device), device.cable))]


def keep_device(run: Run, answers: list[DeviceFacts]) -> None:
    """The device is there now, in the state that its physical network and host are in.

    :raises StepFailed: the provider or host is not there any more, or another device is in the place
    """
    device = _described(run)
    (facts,) = answers
    device.mac, device.name = facts.mac, facts.name or device.address
    provider = provider_of(run.session, device.kind, device.physical_network_id)
    host = run.session.get_one(Host, device.host_id, with_for_update=True)
    if provider is None or provider.state != "Enabled" or host.removed is not None:
        gone = f"the host {host.name}" if host.removed is not None else f"the provider {PROVIDERS[device.kind]}"
        raise StepFailed(f"The device was not taken in: {gone} has been removed or disabled meanwhile.", 431)
    same = {"address": device.address, "port": device.port, "removed": None}
    if run.session.scalar(select(HardwareDevice.id).filter_by(**same)) is not None:
        raise StepFailed(f"The device {device.address} with port {device.port} is there already.", 431)
    try:
        with run.session.begin_nested():
            run.session.add(device)
    except IntegrityError as error:
        raise StepFailed(f"Another device is cabled to {device.cable} of the host {host.name}.", 431) from error
    run.note(device=None)


add_device: Workflow = workflow(
    "device.add", HardwareDevice, [Step(inspect_device, then=keep_device)], lane="hardware-devices"
)


def begin_adding(session: Session, device: HardwareDevice, *, call: Any) -> WorkflowRow:
    """Start the job that takes in `device`, which is in no session and has an id."""
    columns = [column.key for column in HardwareDevice.__table__.columns]
    values = {key: getattr(device, key) for key in columns if getattr(device, key) is not None}
    job = add_device.start(session, device, call=call)
    job.memory = {"device": {key: value for key, value in values.items() if key != "id"}}
    return job
