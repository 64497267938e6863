"""Icons: real pictures of bounded size on things that one manages, shown where they are asked for."""

from __future__ import annotations

import base64
import struct

import pytest

from manager.models import Network, Vm, Zone
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs


def png(width=16, height=16, rest=b""):
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", width, height)
    return header + b"\x08\x06\0\0\0" + rest + b"\0\0\0\0IEND\xaeB`\x82"


def gif(width=3, height=2):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0" * 6 + b";"


def jpeg(width=5, height=4):
    app = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    return b"\xff\xd8" + app + b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + b"\3" * 9 + b"\xff\xd9"


def text(image):
    return base64.b64encode(image).decode()


def upload(api, caller, thing, image, kind="uservm", **more):
    return api("uploadResourceIcon", caller, resourcetype=kind, resourceids=thing.id, base64image=image, **more)


def test_an_icon_is_shown_replaced_and_taken_away(api, tenant, factory):
    vm, bare = factory(Vm, account_id=tenant.account.id), factory(Vm, account_id=tenant.account.id)
    assert upload(api, tenant, vm, "data:image/png;base64," + text(png()))["success"]
    wanted = {"resourcetype": "UserVm", "resourceids": f"{vm.id},{bare.id}"}
    shown = api("listResourceIcon", tenant, **wanted)
    assert shown == {
        "count": 1,
        "icon": [{"resourceid": vm.id, "resourcetype": "UserVm", "base64image": text(png())}],
    }
    assert "icon" not in api("listVirtualMachines", tenant, id=vm.id)["virtualmachine"][0]
    listed = {one["id"]: one for one in api("listVirtualMachines", tenant, showicon=True)["virtualmachine"]}
    assert listed[vm.id]["icon"] == shown["icon"][0]
    assert "icon" not in listed[bare.id]
    for picture in (gif(), jpeg()):
        upload(api, tenant, vm, text(picture))
        assert api("listResourceIcon", tenant, **wanted)["icon"][0]["base64image"] == text(picture)
    api("deleteResourceIcon", tenant, **wanted)
    assert api("listResourceIcon", tenant, **wanted) == {}


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("%%%", "The base64image is not base64"),
        (text(b"<svg/>"), "is no whole PNG, JPEG or GIF"),
        (text(png()[:-1]), "is no whole PNG, JPEG or GIF"),
        (text(jpeg()[:-1]), "is no whole PNG, JPEG or GIF"),
        (text(jpeg(width=0)), "is no whole PNG, JPEG or GIF"),
        (text(b"\xff\xd8\xff\xda\0\2\xff\xd9"), "is no whole PNG, JPEG or GIF"),
        (text(b"GIF89a;"), "is no whole PNG, JPEG or GIF"),
        (text(png(width=1025)), "The image has 1025 by 16 pixels; at most 1024 by 1024"),
        (text(png(rest=b"x" * 2**16)), "The image has 655[0-9]{2} bytes; at most 65536|at most 87385 are possible"),
    ],
)
def test_what_is_no_icon_is_refused(api, tenant, factory, image, reason):
    vm = factory(Vm, account_id=tenant.account.id)
    with pytest.raises(Refused, match=f"431 .*({reason})"):
        upload(api, tenant, vm, image)
    assert api("listResourceIcon", tenant, resourcetype="UserVm", resourceids=vm.id) == {}


def test_only_who_manages_a_thing_gives_it_an_icon(api, tenant, factory, engine):
    vm, zone = factory(Vm, account_id=tenant.account.id), factory(Zone)
    factory.user("other")
    other = Caller.of(engine, "other")
    for caller, thing, kind in ((other, vm, "UserVm"), (tenant, zone, "Zone")):
        with pytest.raises(Refused, match=r"431 .*resourceids"):
            upload(api, caller, thing, text(png()), kind)
    upload(api, None, zone, text(png()), "zone")
    assert api("listZones", tenant, id=zone.id, showicon=True)["zone"][0]["icon"]["resourceid"] == zone.id
    assert api("listResourceIcon", tenant, resourcetype="zone", resourceids=zone.id)["count"] == 1
    with pytest.raises(Refused, match=r"431 .*resourceids"):
        api("listResourceIcon", other, resourcetype="UserVm", resourceids=vm.id)
    with pytest.raises(Refused, match="431 There are no icons of Host; the resource type is one of UserVm"):
        upload(api, None, zone, text(png()), "Host")
    with pytest.raises(Refused, match="431 The parameter resourceids names nothing"):
        api("deleteResourceIcon", tenant, resourcetype="UserVm", resourceids=",")


def test_lists_with_icons_cost_the_same_at_any_length(api, tenant, factory, engine):
    found = costs(
        engine,
        lambda: factory(Network, account_id=tenant.account.id),
        lambda: api("listNetworks", tenant, showicon=True),
    )
    assert len(set(found.values())) == 1
