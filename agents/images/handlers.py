"""Handlers of the agent beside an image store: take templates in, remove them."""

from __future__ import annotations

from agents.contract import RegisterImage, RemoveImage
from agents.host.host import Host
from agents.runner import handles
from storage.types import ImageFacts


@handles(RegisterImage)
def register_image(host: Host, command: RegisterImage) -> ImageFacts:
    store = host.store(command.store)
    facts: ImageFacts = store.register(
        command.image_id, command.url, command.format, command.checksum, command.max_size
    )
    return facts


@handles(RemoveImage)
def remove_image(host: Host, command: RemoveImage) -> None:
    host.store(command.store).remove(command.image_id)
