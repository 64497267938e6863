"""Workflows of templates: take one in, make one of a volume, remove one."""

from __future__ import annotations

from typing import cast

from agents.contract import CaptureVolume, RegisterImage, RemoveImage
from manager.models import Account, Host, ImageStore, StoragePool, Template, Vm, Volume, WorkflowRow
from manager.models.states import TEMPLATE_MOVES
from manager.placement import limits
from manager.workflows.engine import Ask, Await, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.specs import pool_spec, store_spec
from storage.types import Format, ImageFacts

MAX_IMAGE_BYTES = 64 * 2**30


def template_of(run: Run) -> Template:
    template: Template = run.subject(Template)
    return template


def take_in(run: Run) -> list[Ask]:
    template = template_of(run)
    store = run.session.get_one(ImageStore, template.image_store_id)
    template.status = "Downloading"
    image_format = cast("Format", template.format.lower())
    command = RegisterImage(
        template.id, store_spec(store), template.url, image_format, template.requested_checksum, MAX_IMAGE_BYTES
    )
    return [Ask(store.agent_id, command)]


def record_facts(run: Run, answers: list[ImageFacts]) -> None:
    template = template_of(run)
    facts = answers[0]
    owner = run.session.get_one(Account, template.account_id)
    try:
        limits.claim(run.session, owner, secondary_storage=facts.physical_size)
    except limits.LimitReached as error:
        raise StepFailed(str(error), error.code) from error
    template.size, template.physical_size, template.checksum = facts.size, facts.physical_size, facts.checksum
    template.status = "Download Complete"
    TEMPLATE_MOVES.move(template, "ready")


def take_out(run: Run) -> list[Ask]:
    """Undo: the store forgets what it may have of the image; the row stays to show why it failed."""
    template = template_of(run)
    store = run.session.get_one(ImageStore, template.image_store_id)
    if template.state == "Registering":
        TEMPLATE_MOVES.move(template, "fail")
        template.status = run.row.error or ""
    return [Ask(store.agent_id, RemoveImage(template.id, store_spec(store)))]


register_template = workflow("template.register", Template, [Step(take_in, undo=take_out, then=record_facts)])


def copy_volume(run: Run) -> list[Ask]:
    """The host that reaches the volume copies it; the VM is lent meanwhile, so that it does not start."""
    template = template_of(run)
    store = run.session.get_one(ImageStore, template.image_store_id)
    volume = run.session.get_one(Volume, run.arguments["volume_id"])
    pool = run.session.get_one(StoragePool, volume.pool_id)
    host = run.session.get_one(Host, str(pool.host_id or run.arguments["host_id"]))
    template.status = "Creating"
    command = CaptureVolume(template.id, store_spec(store), volume.id, pool_spec(pool), volume.size)
    return [Ask(host.agent_id, command)]


capture_template = workflow("template.capture", Template, [Step(copy_volume, undo=take_out, then=record_facts)])


def await_borrower(run: Run) -> Outcome:
    borrower = run.session.get_one(WorkflowRow, run.arguments["borrower"])
    return Await(borrower.id) if borrower.status == "running" else None


lend_vm = workflow("vm.lend", Vm, [Step(await_borrower)])
"""Holds a VM still while the workflow `borrower`, which was started as awaited, makes something of its disks."""


def begin_removing(run: Run) -> Outcome:
    TEMPLATE_MOVES.move(template_of(run), "remove")
    return None


def remove_image(run: Run) -> list[Ask]:
    template = template_of(run)
    store = run.session.get_one(ImageStore, template.image_store_id)
    return [Ask(store.agent_id, RemoveImage(template.id, store_spec(store)))]


def mark_removed(run: Run) -> Outcome:
    template = template_of(run)
    if template.removed is None:
        template.remove()
        limits.release(run.session, template.account_id, templates=1, secondary_storage=template.physical_size)
    return None


delete_template = workflow(
    "template.delete",
    Template,
    [
        Step(begin_removing),  # no undo: an image whose removal was begun is not offered again
        Step(remove_image),
        Step(mark_removed),
    ],
)
