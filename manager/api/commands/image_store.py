"""Image stores: secondary storage, where templates are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.agent import enrol, let_go
from manager.api.commands.place import (
    hold,
    named,
    narrowed,
    path_of,
    places_of,
    refuse_while,
    rename,
    with_keyword,
)
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Long, MapOf, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.api.response import Long as LongOut
from manager.models import ImageStore, Template, Zone

DRIVERS = {"file": "directory", "simulator": "simulator"}
PROVIDERS = {"directory": "Directory", "simulator": "Simulator"}
PROTOCOLS = {driver: scheme for scheme, driver in DRIVERS.items()}


class ImageStoreResponse(Response):
    object_key = "imagestore"
    shows = ImageStore
    id = Str("the store's id")
    name = Str("its name")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    url = Str("where it is")
    protocol = Str("the scheme of its url: file or simulator")
    providername = Str("Directory or Simulator")
    scope = Str("always ZONE")
    readonly = Bool("whether it takes no more templates")
    disksizetotal = LongOut("its size in bytes, where that is known")
    disksizeused = LongOut("what its templates take, in bytes")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ImageStore]) -> list[Shown]:
        zones = places_of(call, rows, Zone)
        used = _used(call, rows)
        return [
            {
                "id": row.id,
                "name": row.name,
                "zoneid": row.zone_id,
                "zonename": zones.get(row.zone_id),
                "url": row.url,
                "protocol": PROTOCOLS.get(row.driver),
                "providername": PROVIDERS.get(row.driver, row.driver),
                "scope": "ZONE",
                "readonly": row.read_only,
                "disksizetotal": row.details.get("disk_total"),
                "disksizeused": used.get(row.id, 0),
            }
            for row in rows
        ]


def _used(call: Call, rows: Sequence[ImageStore]) -> dict[str | None, int]:
    query = (
        select(Template.image_store_id, func.sum(Template.physical_size))
        .where(Template.image_store_id.in_([row.id for row in rows]), Template.removed.is_(None))
        .group_by(Template.image_store_id)
    )
    return {store_id: int(size) for store_id, size in call.session.execute(query)}


class AddImageStore(Request):
    name = Text("its name, new in the cloud; its url when absent")
    provider = Choice("Directory or Simulator; its url decides", list(PROVIDERS.values()), required=True)
    url = Text("file:///directory, or simulator:///name; needed")
    zoneid = Ref(Zone, "the zone that it serves; needed")
    details = MapOf("publickey: the Ed25519 public key of the store's agent, in base64")


class ListImageStores(ListRequest):
    id = Ref(ImageStore, "only this store")
    name = Text("only the store of this name")
    zoneid = Ref(Zone, "only stores of this zone")
    provider = Text("only stores of this provider")
    protocol = Text("only stores of this protocol")
    readonly = Flag("only stores that are read-only, or that are not")


class UpdateImageStore(Request):
    id = Ref(ImageStore, "the store", required=True)
    name = Text("another name")
    readonly = Flag("whether it takes no more templates")
    capacitybytes = Long("its size in bytes", least=1)


class DeleteImageStore(Request):
    id = Ref(ImageStore, "the store, which must be empty", required=True)


@command("listImageStores", ListImageStores, ImageStoreResponse)
def list_image_stores(call: Call, **filters: Any) -> Page:
    """List image stores."""
    filters["provider"] = (filters["provider"] or "").lower()
    filters["protocol"] = DRIVERS.get(filters["protocol"], filters["protocol"])
    columns = {
        "id": ImageStore.id,
        "name": ImageStore.name,
        "zoneid": ImageStore.zone_id,
        "provider": ImageStore.driver,
        "protocol": ImageStore.driver,
        "readonly": ImageStore.read_only,
    }
    query = narrowed(select(ImageStore).where(ImageStore.removed.is_(None)), filters, columns)
    query = with_keyword(query, filters["keyword"], ImageStore.name)
    return call.paged(query.order_by(ImageStore.name, ImageStore.id))


@command("addImageStore", AddImageStore, ImageStoreResponse, creates=True, event="IMAGE.STORE.CREATE")
def add_image_store(call: Call, given: Given) -> ImageStore:
    """Add secondary storage to a zone. Its agent signs with the key of publickey."""
    zone: Zone | None = given.zoneid
    if zone is None:
        raise Invalid("The parameter zoneid is missing; an image store serves one zone.")
    scheme, path = path_of(given.url or "", DRIVERS)
    hold(call, zone)
    name = named("image store", given.name or given.url)
    store = ImageStore(
        zone_id=zone.id,
        agent_id=enrol(call, "image_store", given.details).id,
        name=name,
        driver=DRIVERS[scheme],
        url=given.url,
        path=path,
        live=name.lower(),
    )
    made: ImageStore = call.add(store, taken=f"An image store named {name} exists already.")
    return made


@command("updateImageStore", UpdateImageStore, ImageStoreResponse, event="IMAGE.STORE.UPDATE")
def update_image_store(call: Call, given: Given) -> ImageStore:
    """Change an image store."""
    store: ImageStore = given.id
    if given.name is not None:
        rename(call, store, given.name)
    if given.readonly is not None:
        store.read_only = given.readonly
    if given.capacitybytes is not None:
        store.details = {**store.details, "disk_total": given.capacitybytes}
    return store


@command("deleteImageStore", DeleteImageStore, SuccessResponse, event="IMAGE.STORE.DELETE")
def delete_image_store(call: Call, id: ImageStore) -> bool:
    """Take away an image store that has no templates; its directory is left as it is."""
    hold(call, id)
    refuse_while(call, f"The image store {id.name}", [("templates", Template, Template.image_store_id == id.id)])
    id.remove()
    let_go(call, id.agent_id, f"The image store {id.name} was removed.")
    return True
