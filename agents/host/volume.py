"""Handlers of volumes on primary storage."""

from __future__ import annotations

from agents.contract import CreateVolume, RemoveVolume
from agents.host.host import Host
from agents.runner import handles


@handles(CreateVolume)
def create_volume(host: Host, command: CreateVolume) -> None:
    volume = command.volume
    image = volume.image
    file = host.store(image.store).path(image.id) if image else None
    host.pool(volume.pool).create(volume, file)


@handles(RemoveVolume)
def remove_volume(host: Host, command: RemoveVolume) -> None:
    host.pool(command.pool).delete(command.volume_id)
