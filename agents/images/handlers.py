"""Handlers of the agent beside an image store: take templates in, remove them."""

from __future__ import annotations

from agents.contract import RegisterImage, RemoveImage
from agents.host.host import Host
from agents.runner import handles
from storage.images.base import ImageRequest
from storage.types import ImageFacts


@handles(RegisterImage)
def register_image(host: Host, command: RegisterImage) -> ImageFacts:
    request = ImageRequest(command.image_id, command.url, command.format, command.checksum, command.max_size)
    facts: ImageFacts = host.store(command.store).register(request)
    return facts


@handles(RemoveImage)
def remove_image(host: Host, command: RemoveImage) -> None:
    host.store(command.store).remove(command.image_id)
