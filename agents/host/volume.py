"""Handlers of volumes on primary storage."""

from __future__ import annotations

from agents.contract import CaptureVolume, CreateVolume, RemoveVolume
from agents.host.host import Host
from agents.runner import handles
from storage.types import ImageFacts


@handles(CreateVolume)
def create_volume(host: Host, command: CreateVolume) -> None:
    volume = command.volume
    image = volume.image
    file = host.store(image.store).path(image.id) if image else None
    host.pool(volume.pool).create(volume, file)


@handles(CaptureVolume)
def capture_volume(host: Host, command: CaptureVolume) -> ImageFacts:
    source = host.pool(command.pool).disk(command.volume_id)
    facts: ImageFacts = host.store(command.store).capture(command.image_id, source, command.size)
    return facts


@handles(RemoveVolume)
def remove_volume(host: Host, command: RemoveVolume) -> None:
    host.pool(command.pool).delete(command.volume_id)
    if command.expunged:
        host.hypervisor.forget(command.expunged)
