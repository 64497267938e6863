"""Templates through the API: registered by a job of simulated agents, listed by filter, deleted."""

from __future__ import annotations

import pytest

from manager.models import ImageStore, OsType, ResourceLimit, ResourceUse, Tag, Template, Vm, WorkflowRow, Zone
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs, live_cloud

CHECKSUM = "a" * 64
IMAGE = {"name": "tiny", "displaytext": "tiny Linux", "format": "qcow2", "url": "https://images.example/t.qcow2"}


@pytest.fixture
def store(factory):
    """A zone with a writable image store."""
    return factory(ImageStore, zone_id=factory(Zone).id)


@pytest.fixture
def image(store, factory):
    """What registerTemplate needs."""
    return {**IMAGE, "hypervisor": "kvm", "zoneid": store.zone_id, "ostypeid": factory(OsType).id}


def test_a_registered_template_becomes_ready_and_goes(api, factory, tmp_path):
    cloud, user = live_cloud(factory, tmp_path)
    image = {**IMAGE, "hypervisor": "Simulator", "zoneid": cloud.zone_id, "passwordenabled": True}
    answer = api("registerTemplate", user, params={"details[0].rootDiskController": "virtio"}, **image)
    assert answer["count"] == 1
    (made,) = answer["template"]
    assert (made["isready"], made["format"], made["hypervisor"]) == (False, "QCOW2", "Simulator")
    assert (made["ostypename"], made["account"], made["zonename"]) == ("Other (64-bit)", "tenant", "z1")
    assert (made["passwordenabled"], made["sshkeyenabled"], made["ispublic"]) == (True, False, False)
    assert made["details"] == {"rootDiskController": "virtio"}
    cloud.settle()
    (ready,) = api("listTemplates", user, templatefilter="self", id=made["id"])["template"]
    assert (ready["isready"], ready["status"]) == (True, "Download Complete")
    assert ready["size"] > 0
    assert ready["physicalsize"] > 0
    assert ready["checksum"].startswith("{sha256}")
    assert cloud.get(ResourceUse, cloud.account_id).templates == 2
    job = api("deleteTemplate", user, id=made["id"])["jobid"]
    assert api("listTemplates", user, templatefilter="self", id=made["id"])["template"][0]["jobid"] == job
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job)["jobresult"] == {"success": True}
    assert api("listTemplates", user, templatefilter="self", id=made["id"]) == {}
    assert api("listTemplates", user, templatefilter="self", showremoved=True, name="tiny")["count"] == 2
    assert cloud.get(ResourceUse, cloud.account_id).templates == 1


def test_a_template_that_cannot_be_taken_in_tells_why(api, factory, tmp_path):
    cloud, user = live_cloud(factory, tmp_path)
    image = {**IMAGE, "hypervisor": "Simulator", "zoneid": cloud.zone_id}
    made = api("registerTemplate", user, checksum="{md5}" + CHECKSUM, **image)["template"][0]
    with pytest.raises(Refused, match=r"536 .*busy with job"):
        api("deleteTemplate", user, id=made["id"])
    cloud.settle()
    (failed,) = api("listTemplates", user, templatefilter="self", id=made["id"])["template"]
    assert (failed["isready"], failed["status"]) == (
        False,
        "The checksum of 64 digits fits no algorithm that is known by that name.",
    )
    api("deleteTemplate", user, id=made["id"])
    cloud.settle()
    assert api("listTemplates", user, templatefilter="self", id=made["id"]) == {}


def test_what_devcloud_sends(api, image, factory):
    """Its os type, a checksum with an algorithm, a file, and root's flags."""
    answer = api(
        "registerTemplate", checksum="{SHA-256}" + CHECKSUM, ispublic=True, isfeatured=True,
        **{**image, "url": "file:///srv/images/tiny.qcow2"},
    )  # fmt: skip
    made = answer["template"][0]
    assert (made["ispublic"], made["isfeatured"], made["account"]) == (True, True, "admin")
    assert factory.first(Template, id=made["id"]).requested_checksum == "{SHA-256}" + CHECKSUM
    assert factory.first(WorkflowRow, subject_id=made["id"]).name == "template.register"
    found = api("listTemplates", templatefilter="all", zoneid=image["zoneid"])["template"]
    assert [one["id"] for one in found] == [made["id"]]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"format": "VHD"}, "431 .*VHD is none of QCOW2, RAW"),
        ({"hypervisor": "Xen"}, "431 .*Xen is none of KVM, Simulator"),
        ({"url": "ftp://x.example/t"}, "431 The URL ftp://x.example/t is not http, https or file"),
        ({"url": "http:///t"}, "431 The URL .* with a place"),
        ({"url": "http://me:secret@x.example/t"}, "431 The URL .* without user name"),
        ({"url": "http://[x/t"}, "431 The URL"),
        ({"url": "file:///etc/shadow"}, "531 Only root administrators register templates from files"),
        ({"isfeatured": True}, "531 Only root administrators make templates featured"),
        ({"checksum": "abc"}, "431 The checksum abc is not a digest"),
        ({"zoneid": None}, "431 A template is registered in one zone: zoneid and zoneids name 0"),
        ({"ostypeid": None}, "431 There is no operating system Other"),
        ({"ostypeid": "00000000-0000-0000-0000-000000000000"}, "431 .*Invalid parameter ostypeid"),
    ],
)
def test_bad_input_is_refused(api, tenant, image, given, reason):
    with pytest.raises(Refused, match=reason):
        api("registerTemplate", tenant, **{**image, **given})
    assert api("listTemplates", templatefilter="all") == {}


def test_zones(api, tenant, image, factory):
    other = factory(Zone, name="other")
    zone_id = image.pop("zoneid")
    with pytest.raises(Refused, match=r"431 .*name 2"):
        api("registerTemplate", tenant, zoneid=zone_id, zoneids=other.id, **image)
    with pytest.raises(Refused, match="431 The zone other has no image store that can be written"):
        api("registerTemplate", tenant, zoneid=other.id, **image)
    read_only = factory(ImageStore, zone_id=other.id, read_only=True)
    with pytest.raises(Refused, match="431 The zone other has no image store"):
        api("registerTemplate", tenant, zoneids=other.id, **image)
    factory.change(read_only, read_only=False)
    assert api("registerTemplate", tenant, zoneids=other.id, **image)["template"][0]["zonename"] == "other"
    factory.change(other, allocation_state="Disabled")
    with pytest.raises(Refused, match="531 The zone other is disabled"):
        api("registerTemplate", tenant, zoneid=other.id, **image)


def test_the_store_with_the_fewest_templates_is_chosen(api, image, factory, store):
    second = factory(ImageStore, zone_id=None)
    chosen = set()
    for _ in range(2):
        template_id = api("registerTemplate", **image)["template"][0]["id"]
        chosen.add(factory.first(Template, id=template_id).image_store_id)
    assert chosen == {store.id, second.id}


def test_limits_hold(api, tenant, image, factory):
    factory(ResourceLimit, account_id=tenant.account.id, resource="templates", maximum=1)
    api("registerTemplate", tenant, **image)
    with pytest.raises(Refused, match="535 Account tenant may hold 1 templates; it holds 1"):
        api("registerTemplate", tenant, **image)


def test_filters_of_whose_templates(api, tenant, factory):
    mine = tenant.account.id
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    factory(Template, name="mine", account_id=mine, state="Ready")
    factory(Template, name="failed", account_id=mine, state="Failed")
    factory(Template, name="theirs", account_id=stranger.account.id, state="Ready")
    factory(Template, name="shared", account_id=stranger.account.id, state="Ready", is_public=True)
    factory(Template, name="best", is_public=True, is_featured=True, state="Ready")

    def names(kind, caller=tenant, **given):
        found = api("listTemplates", caller, templatefilter=kind, **given)
        return [one["name"] for one in found.get("template", [])]

    assert names("self") == names("self", listall=True) == ["failed", "mine"]
    assert names("selfexecutable") == ["mine"]
    assert names("featured") == ["best"]
    assert names("community") == ["shared"]
    assert names("executable") == ["best", "mine", "shared"]
    assert names("sharedexecutable") == []
    with pytest.raises(Refused, match="431 The template filter all is for administrators"):
        names("all")
    assert names("all", api.admin) == ["best", "failed", "mine", "shared", "theirs"]
    assert names("all", api.admin, account="tenant", domainid=factory.root.id) == ["failed", "mine"]
    with pytest.raises(Refused, match=r"431 .*nonsense is none of featured, self"):
        names("nonsense")
    with pytest.raises(Refused, match="missing parameter templatefilter"):
        api("listTemplates")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        names("self", id=factory.first(Template, name="theirs").id)


def test_other_filters(api, factory):
    zone = factory(Zone)
    one = factory(Template, name="one", zone_id=zone.id, state="Ready", hypervisor="Simulator")
    two = factory(Template, name="two", image_store_id=factory(ImageStore).id)
    factory(Tag, resource_id=one.id, resource_type="Template", key="k", value="v", account_id=one.account_id)

    def names(**given):
        return [t["name"] for t in api("listTemplates", templatefilter="all", **given).get("template", [])]

    assert names(zoneid=zone.id) == ["one", "two"]
    assert names(zoneid=factory(Zone).id) == ["two"]
    assert names(hypervisor="simulator") == names(isready=True) == names(keyword="ne") == names(ids=one.id) == ["one"]
    assert names(isready=False) == names(name="two") == names(ids=f"{two.id}") == ["two"]
    assert names(oscategoryid=factory.first(OsType, id=two.os_type_id).category_id) == ["two"]
    assert names(params={"tags[0].key": "k", "tags[0].value": "v"}) == ["one"]
    assert names(imagestoreid=two.image_store_id) == ["two"]
    assert names(params={"tags[0].key": "k", "tags[0].value": "w"}) == []


def test_update(api, tenant, factory):
    template = factory(Template, account_id=tenant.account.id, details={"a": "b"})
    os_type = factory(OsType)
    changed = api(
        "updateTemplate", tenant, id=template.id, name="new", displaytext="newer", ostypeid=os_type.id,
        passwordenabled=True, requireshvm=False, params={"details[0].key": "c", "details[0].value": "d"},
    )["template"]  # fmt: skip
    assert (changed["name"], changed["displaytext"], changed["ostypeid"]) == ("new", "newer", os_type.id)
    assert (changed["passwordenabled"], changed["requireshvm"], changed["details"]) == (True, False, {"c": "d"})
    assert "details" not in api("updateTemplate", tenant, id=template.id, cleanupdetails=True)["template"]
    api("updateTemplatePermissions", tenant, id=template.id, ispublic=True, isextractable=True)
    with pytest.raises(Refused, match="531 Only root"):
        api("updateTemplatePermissions", tenant, id=template.id, isfeatured=True)
    api("updateTemplatePermissions", id=template.id, isfeatured=True)
    (shown,) = api("listTemplates", templatefilter="featured")["template"]
    assert (shown["ispublic"], shown["isextractable"], shown["isfeatured"]) == (True, True, True)


def test_only_the_owner_changes_a_public_template(api, factory, tenant):
    template = factory(Template, is_public=True, state="Ready")
    for command in ("updateTemplate", "updateTemplatePermissions", "deleteTemplate"):
        with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
            api(command, tenant, id=template.id)


def test_deletion_says_what_stands_against_it(api, factory, store):
    template = factory(Template, state="Ready", image_store_id=store.id, zone_id=store.zone_id, name="used")
    vm = factory(Vm, template_id=template.id)
    with pytest.raises(Refused, match="431 The template used is that of 1 virtual machines that are not expunged"):
        api("deleteTemplate", id=template.id)
    with pytest.raises(Refused, match="431 The template used is not in zone"):
        api("deleteTemplate", id=template.id, zoneid=vm.zone_id, forced=True)
    job = api("deleteTemplate", id=template.id, forced=True)["jobid"]
    with pytest.raises(Refused, match=f"536 .*busy with job {job}"):
        api("deleteTemplate", id=template.id, forced=True)
    gone = factory(Template, state="Removing")
    with pytest.raises(Refused, match=r"431 .*is Removing"):
        api("deleteTemplate", id=gone.id)


def test_a_client_token_registers_once(api, image, factory):
    first = api("registerTemplate", clienttoken="t", **image)
    assert api("registerTemplate", clienttoken="t", **image) == first
    assert api("listTemplates", templatefilter="self")["count"] == 1


def test_lists_cost_the_same_at_any_length(api, tenant, factory, engine):
    def make():
        factory(Template, account_id=tenant.account.id, zone_id=factory(Zone).id)

    found = costs(engine, make, lambda: api("listTemplates", templatefilter="all"))
    assert found == {1: found[1], 50: found[1]}
    assert found[1] <= 10


def test_filters_and_choice_of_a_store_on_every_database(any_api, any_factory):
    store = any_factory(ImageStore, zone_id=any_factory(Zone).id)
    image = {**IMAGE, "hypervisor": "KVM", "zoneid": store.zone_id, "ostypeid": any_factory(OsType).id}
    made = any_api("registerTemplate", **image)["template"][0]
    assert any_factory.first(Template, id=made["id"]).image_store_id == store.id
    for kind in ("self", "selfexecutable", "executable", "featured", "community", "sharedexecutable", "all"):
        found = any_api("listTemplates", templatefilter=kind, isready=False, hypervisor="kvm")
        assert found.get("count", 0) == (kind in ("self", "all")), kind
