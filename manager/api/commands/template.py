"""Templates: images that virtual machines start from."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, and_, func, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import (
    EVERYONE,
    AccountListRequest,
    Given,
    IconListRequest,
    OwnedRequest,
    Page,
    Request,
    command,
)
from manager.api.commands.place import HYPERVISORS, with_keyword
from manager.api.commands.template_response import TemplateResponse
from manager.api.errors import ApiError, Denied, Invalid
from manager.api.fields import Choice, Flag, Integer, ListOf, MapOf, Ref, Text, Uuid
from manager.api.response import SuccessResponse
from manager.models import ImageStore, OsCategory, OsType, Tag, Template, TemplateShare, Vm, WorkflowRow, Zone
from manager.models.states import TEMPLATE_MOVES
from manager.placement import limits
from manager.workflows.template import delete_template as removal
from manager.workflows.template import register_template as taking_in

FORMATS = ("QCOW2", "RAW")
FILTERS = ("featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all")
SCHEMES = ("http", "https", "file")
DEFAULT_OS_TYPE = "Other (64-bit)"
CHECKSUM = re.compile(r"(\{[A-Za-z0-9-]+\})?([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{56}|[0-9A-Fa-f]{64}"
                      r"|[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128})")  # fmt: skip
QUOTA = 535


class RegisterTemplate(OwnedRequest):
    name = Text("its name", required=True)
    displaytext = Text("what it is; the name when absent", max_length=4096)
    url = Text("where the image is: http, https, or a file URL for root administrators", max_length=2048, required=True)
    format = Choice("the image's format", FORMATS, required=True)
    hypervisor = Choice("the hypervisor that runs it", HYPERVISORS, required=True)
    ostypeid = Ref(OsType, f"its operating system; {DEFAULT_OS_TYPE} when absent")
    zoneid = Ref(Zone, "the zone that has it")
    zoneids = ListOf(Ref(Zone, "a zone"), "in place of zoneid; one zone")
    checksum = Text("the image's digest in hexadecimal, with {algorithm} before it if that is not told by its length")
    ispublic = Flag("whether everyone may use it", default=False)
    isfeatured = Flag("whether it is shown first; for root administrators", default=False)
    isextractable = Flag("whether it may be downloaded", default=False)
    passwordenabled = Flag("whether the guest takes a password", default=False)
    sshkeyenabled = Flag("whether the guest takes an SSH key", default=False)
    requireshvm = Flag("whether it needs hardware virtualization", default=True)
    details = MapOf("details for virtual machines that start from it")


@command(
    "registerTemplate",
    RegisterTemplate,
    TemplateResponse,
    creates=True,
    roles=EVERYONE,
    event="TEMPLATE.CREATE",
    shape="list",
)
def register_template(call: Call, given: Given) -> Template:
    """Take in an image from a URL as a template, in a job of its own: the template's status tells how it goes."""
    zone = _zone(call, given)
    _check_url(call, given.url)
    if given.checksum and not CHECKSUM.fullmatch(given.checksum.strip()):
        raise Invalid(f"The checksum {given.checksum} is not a digest in hexadecimal.")
    check_flags(call, given.isfeatured)
    store = store_of(call, zone)
    try:
        limits.claim(call.session, call.owner, templates=1)
    except limits.LimitReached as error:
        raise ApiError(QUOTA, str(error)) from error
    template = Template(
        name=given.name,
        display_text=given.displaytext or given.name,
        account_id=call.owner.id,
        zone_id=zone.id,
        image_store_id=store.id,
        os_type_id=(given.ostypeid or _default_os_type(call)).id,
        hypervisor=given.hypervisor,
        format=given.format,
        url=given.url,
        requested_checksum=(given.checksum or "").strip(),
        is_public=given.ispublic,
        is_featured=given.isfeatured,
        is_extractable=given.isextractable,
        password_enabled=given.passwordenabled,
        ssh_key_enabled=given.sshkeyenabled,
        requires_hvm=given.requireshvm,
        details=given.details or {},
    )
    call.add(template)
    taking_in.start(call.session, template)
    return template


def _zone(call: Call, given: Given) -> Zone:
    zones = {zone.id: zone for zone in [given.zoneid, *(given.zoneids or [])] if zone is not None}
    if len(zones) != 1:
        raise Invalid(f"A template is registered in one zone: zoneid and zoneids name {len(zones)}.")
    zone: Zone = next(iter(zones.values()))
    if zone.allocation_state != "Enabled" and not call.is_root_admin:
        raise Denied(f"The zone {zone.name} is disabled.")
    return zone


def _check_url(call: Call, url: str) -> None:
    try:
        parts = urlsplit(url)
        known = (
            parts.scheme in SCHEMES and (parts.hostname if parts.scheme != "file" else parts.path) and "@" not in url
        )
    except ValueError:
        known = False
    if not known:
        raise Invalid(f"The URL {url} is not http, https or file with a place, without user name and password.")
    if parts.scheme == "file" and not call.is_root_admin:
        raise Denied("Only root administrators register templates from files.")


def check_flags(call: Call, featured: bool | None) -> None:
    if featured and not call.is_root_admin:
        raise Denied("Only root administrators make templates featured.")


def store_of(call: Call, zone: Zone) -> ImageStore:
    """The writable image store of the zone that holds the fewest templates.

    :raises Invalid: there is none
    """
    held = select(func.count(Template.id)).where(Template.image_store_id == ImageStore.id, Template.removed.is_(None))
    query = (
        select(ImageStore)
        .where(or_(ImageStore.zone_id == zone.id, ImageStore.zone_id.is_(None)))
        .where(ImageStore.removed.is_(None), ImageStore.read_only.is_(False))
        .order_by(held.scalar_subquery(), ImageStore.id)
        .limit(1)
    )
    store = call.session.scalar(query)
    if store is None:
        raise Invalid(f"The zone {zone.name} has no image store that can be written; add one with addImageStore.")
    return store


def _default_os_type(call: Call) -> OsType:
    found = call.session.scalar(select(OsType).where(OsType.name == DEFAULT_OS_TYPE, OsType.removed.is_(None)))
    if found is None:
        raise Invalid(f"There is no operating system {DEFAULT_OS_TYPE} to assume; name one by ostypeid.")
    return found


class ListTemplates(IconListRequest, AccountListRequest):
    templatefilter = Choice("which templates", FILTERS, required=True)
    id = Ref(Template, "only this template, whatever the filter")
    ids = ListOf(Uuid("a template"), "only these templates, whatever the filter")
    name = Text("only templates of this name")
    zoneid = Ref(Zone, "only templates in this zone")
    hypervisor = Text("only templates for this hypervisor")
    isready = Flag("only those that virtual machines can start from, or only others")
    oscategoryid = Ref(OsCategory, "only templates of this category of operating systems")
    imagestoreid = Ref(ImageStore, "only templates in this image store")
    showremoved = Flag("removed ones too", default=False)
    tags = MapOf("only templates with all these tags")


@command("listTemplates", ListTemplates, TemplateResponse, roles=EVERYONE)
def list_templates(call: Call, given: Given) -> Page:
    """List templates."""
    query = with_keyword(select(Template).where(*_conditions(call, given)), given.keyword, Template.name)
    for key, value in (given.tags or {}).items():
        query = query.where(Template.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    return call.paged(query.order_by(Template.sort_key, Template.name, Template.id))


def _conditions(call: Call, given: Given) -> list[ColumnElement[bool]]:
    named = [given.id.id] if given.id is not None else given.ids
    found = [_filtered(call, given.templatefilter) if named is None else access.reach(call, Template, access.READ)]
    if named is not None:
        found.append(Template.id.in_(named))
    if not given.showremoved:
        found.append(Template.removed.is_(None))
    if given.name is not None:
        found.append(Template.name == given.name)
    if given.zoneid is not None:
        found.append(or_(Template.zone_id == given.zoneid.id, Template.zone_id.is_(None)))
    if given.hypervisor:
        found.append(func.lower(Template.hypervisor) == given.hypervisor.lower())
    if given.isready is not None:
        found.append((Template.state == "Ready") == given.isready)
    if given.oscategoryid is not None:
        found.append(Template.os_type_id.in_(select(OsType.id).where(OsType.category_id == given.oscategoryid.id)))
    if given.imagestoreid is not None:
        found.append(Template.image_store_id == given.imagestoreid.id)
    return found


def _filtered(call: Call, name: str) -> ColumnElement[bool]:
    """The condition of a template filter, within what the caller's account and scope admit."""
    if name == "all":
        return _all(call)
    own = and_(access.visible(call, Template, removed=True), access.reach(call, Template, access.MANAGE))
    ready = Template.state == "Ready"
    shares = select(TemplateShare.template_id).where(
        TemplateShare.account_id == (call.scope.account or call.account).id
    )
    shared = Template.id.in_(shares)
    return {
        "featured": and_(Template.is_public, Template.is_featured),
        "community": and_(Template.is_public, Template.is_featured.is_(False)),
        "self": own,
        "selfexecutable": and_(own, ready),
        "executable": and_(or_(own, Template.is_public, shared), ready),
        "sharedexecutable": and_(shared, ready),
    }[name]


def _all(call: Call) -> ColumnElement[bool]:
    if not call.is_root_admin and not call.is_domain_admin:
        raise Invalid("The template filter all is for administrators.")
    if call.scope.account is not None or call.scope.domain is not None:
        return access.visible(call, Template, removed=True)
    return access.reach(call, Template, access.READ)


class UpdateTemplate(Request):
    id = Ref(Template, "the template", required=True)
    name = Text("its new name")
    displaytext = Text("what it is", max_length=4096)
    ostypeid = Ref(OsType, "its operating system")
    passwordenabled = Flag("whether the guest takes a password")
    sshkeyenabled = Flag("whether the guest takes an SSH key")
    requireshvm = Flag("whether it needs hardware virtualization")
    sortkey = Integer("its place in lists, from the smallest", least=-(2**31))
    details = MapOf("details in place of those it has")
    cleanupdetails = Flag("remove all details", default=False)


@command("updateTemplate", UpdateTemplate, TemplateResponse, roles=EVERYONE, event="TEMPLATE.UPDATE")
def update_template(call: Call, given: Given) -> Template:
    """Change how a template is called and treated; its image stays."""
    template: Template = given.id
    values: dict[str, Any] = {
        "name": given.name or None,
        "display_text": given.displaytext or None,
        "os_type_id": given.ostypeid.id if given.ostypeid is not None else None,
        "password_enabled": given.passwordenabled,
        "ssh_key_enabled": given.sshkeyenabled,
        "requires_hvm": given.requireshvm,
        "sort_key": given.sortkey,
        "details": {} if given.cleanupdetails else given.details,
    }
    for name, value in values.items():
        if value is not None:
            setattr(template, name, value)
    call.flush()
    return template


class DeleteTemplate(Request):
    id = Ref(Template, "the template", required=True)
    zoneid = Ref(Zone, "the zone that has it")
    forced = Flag("also while virtual machines have it", default=False)


@command("deleteTemplate", DeleteTemplate, SuccessResponse, is_async=True, roles=EVERYONE, event="TEMPLATE.DELETE")
def delete_template(call: Call, id: Template, zoneid: Zone | None, forced: bool) -> WorkflowRow:
    """Remove a template. Volumes that exist keep the copy that their storage pool has of it."""
    if zoneid is not None and id.zone_id not in (None, zoneid.id):
        raise Invalid(f"The template {id.name} is not in zone {zoneid.name}.")
    if not forced:
        query = select(func.count(Vm.id)).where(Vm.template_id == id.id, Vm.removed.is_(None))
        count = call.session.scalar(query) or 0
        if count:
            raise Invalid(
                f"The template {id.name} is that of {count} virtual machines that are not expunged; "
                "expunge them, or delete it with forced=true."
            )
    if id.state != "Registering":  # its job is then told to be in the way
        TEMPLATE_MOVES.demand(id, "remove")
    return removal.start(call.session, id, call=call)
