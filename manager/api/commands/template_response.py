"""How templates are shown."""

from __future__ import annotations

from collections.abc import Sequence

from manager.api.call import Call
from manager.api.commands.tag import TagResponse
from manager.api.response import Bool, Int, Long, Many, Map, Response, Shown, Str, When
from manager.api.rows import by_id, owners_of, tags_of
from manager.models import OsType, Template, UserData, Zone


class TemplateResponse(Response):
    object_key = "template"
    shows = Template
    has_jobs = True
    is_owned = True
    id = Str("the template's id")
    name = Str("its name")
    displaytext = Str("what it is")
    ispublic = Bool("whether everyone may use it")
    isfeatured = Bool("whether it is among those that are shown first")
    isextractable = Bool("whether it may be downloaded")
    isready = Bool("whether virtual machines can start from it")
    status = Str("how far taking it in has come, or why it failed")
    created = When("when it was registered")
    removed = When("when it was removed")
    format = Str("QCOW2 or RAW")
    hypervisor = Str("the hypervisor that runs it")
    size = Long("the size of its disk in bytes")
    physicalsize = Long("the bytes that the image takes")
    checksum = Str("SHA-256 of the stored image, once it is ready")
    url = Str("where it came from")
    bits = Int("64")
    arch = Str("x86_64")
    crossZones = Bool("whether it is in every zone")  # noqa: N815 - CloudStack's name
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    ostypeid = Str("the id of its operating system")
    ostypename = Str("the name of its operating system")
    templatetype = Str("always USER")
    passwordenabled = Bool("whether the guest takes a password")
    sshkeyenabled = Bool("whether the guest takes an SSH key")
    requireshvm = Bool("whether it needs hardware virtualization")
    isdynamicallyscalable = Bool("always false")
    deployasis = Bool("always false")
    directdownload = Bool("always false")
    details = Map("details for virtual machines that start from it")
    userdataid = Str("the id of the registered user data linked to it")
    userdataname = Str("the name of that")
    userdataparams = Str("the names of its parameters, with commas")
    userdatapolicy = Str("how it goes with virtual machines' own user data")
    accountid = Str("the id of the account that owns it")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Template]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        tags = tags_of(call, rows)
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        linked = by_id(call, UserData, (row.user_data_id for row in rows))
        os_types = by_id(call, OsType, (row.os_type_id for row in rows))
        return [
            {
                **_describe(row),
                "zonename": zones[row.zone_id].name if row.zone_id else None,
                "ostypename": os_types[row.os_type_id].name,
                "tags": tags[row.id],
                **_linked(row, linked.get(row.user_data_id)),
                **owners[row.account_id],
            }
            for row in rows
        ]


def _linked(row: Template, linked: UserData | None) -> Shown:
    if linked is None:
        return {}
    return {
        "userdataid": linked.id,
        "userdataname": linked.name,
        "userdataparams": linked.params or None,
        "userdatapolicy": row.user_data_policy,
    }


def _describe(row: Template) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displaytext": row.display_text,
        "ispublic": row.is_public,
        "isfeatured": row.is_featured,
        "isextractable": row.is_extractable,
        "isready": row.state == "Ready",
        "status": row.status or row.state,
        "created": row.created,
        "removed": row.removed,
        "format": row.format,
        "hypervisor": row.hypervisor,
        "size": row.size or None,
        "physicalsize": row.physical_size or None,
        "checksum": row.checksum or row.requested_checksum or None,
        "url": row.url or None,
        "bits": row.bits,
        "arch": "x86_64",
        "crossZones": row.zone_id is None,
        "zoneid": row.zone_id,
        "ostypeid": row.os_type_id,
        "templatetype": "USER",
        "passwordenabled": row.password_enabled,
        "sshkeyenabled": row.ssh_key_enabled,
        "requireshvm": row.requires_hvm,
        "isdynamicallyscalable": row.dynamically_scalable,
        "deployasis": False,
        "directdownload": False,
        "details": row.details or None,
        "accountid": row.account_id,
    }
