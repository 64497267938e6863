"""createTemplate of a root volume: its image, its owner, and that its virtual machine stays Stopped meanwhile."""

import pytest

from manager.models import OsType, ResourceLimit, ResourceUse, Template, Vm, Volume, WorkflowRow
from manager.workflows import engine
from tests.client import Refused
from tests.unit.api.live_cloud import run
from tests.unit.workflows.test_laws import breaking


@pytest.fixture
def volume(api, cloud, user, factory) -> Volume:
    vm_id = cloud.deploy("web")
    cloud.settle()
    run(api, cloud, user, "stopVirtualMachine", id=vm_id)
    return factory.first(Volume, vm_id=vm_id)


@pytest.fixture
def given(volume, factory):
    return {"name": "golden", "ostypeid": factory.first(OsType).id, "volumeid": volume.id}


def images(cloud):
    store = next(runner.host for runner in cloud.runners.values() if runner.host.hypervisor is None)
    return set(store.inventory_of_images())


def test_a_template_is_made_and_deploys(api, cloud, user, given, volume):
    answer = api("createTemplate", user, displaytext="of web", passwordenabled=True, **given)
    with pytest.raises(Refused, match=r"536 vms .* is busy with job"):
        api("startVirtualMachine", user, id=volume.vm_id)
    cloud.settle()
    done = api("queryAsyncJobResult", user, jobid=answer["jobid"])
    shown = done["jobresult"]["template"]
    assert (done["jobstatus"], shown["id"], answer["id"]) == (1, shown["id"], shown["id"])
    assert (shown["isready"], shown["size"], shown["format"]) == (True, volume.size, "QCOW2")
    assert (shown["account"], shown["displaytext"], shown["passwordenabled"]) == ("tenant", "of web", True)
    assert images(cloud) == {cloud.template_id, shown["id"]}
    assert cloud.get(ResourceUse, cloud.account_id).templates == 2
    run(api, cloud, user, "startVirtualMachine", id=volume.vm_id)
    job = api(
        "deployVirtualMachine", user, zoneid=cloud.zone_id, serviceofferingid=cloud.offering_id,
        networkids=cloud.network_id, templateid=shown["id"],
    )  # fmt: skip
    cloud.settle()
    assert cloud.get(Vm, job["id"]).state == "Running"


@pytest.mark.parametrize("after", [False, True])
def test_what_fails_leaves_no_image_and_frees_the_vm(api, cloud, user, given, after):
    vm_id = cloud.get(Volume, given["volumeid"]).vm_id
    with pytest.MonkeyPatch.context() as patch:
        name = "template.capture"
        patch.setitem(engine.WORKFLOWS, name, breaking(engine.WORKFLOWS[name], 0, after=after))
        answer = api("createTemplate", user, **given)
        cloud.settle(times=2)
    template = cloud.get(Template, answer["id"])
    assert (template.state, template.status) == ("Failed", "planted")
    assert images(cloud) == {cloud.template_id}
    run(api, cloud, user, "startVirtualMachine", id=vm_id)
    run(api, cloud, user, "deleteTemplate", id=template.id)
    assert cloud.get(ResourceUse, cloud.account_id).templates == 1


def test_messages_may_be_lost_and_doubled(api, cloud, user, given):
    answer = api("createTemplate", user, **given)
    cloud.settle(2, shuffle=True, lose=0.3)
    assert cloud.get(Template, answer["id"]).state == "Ready"


def test_refusals(api, cloud, user, given, volume, factory):
    with pytest.raises(Refused, match=r"431 .*missing parameter volumeid"):
        api("createTemplate", user, **{**given, "volumeid": None})
    data = factory(Volume, account_id=cloud.account_id, type="DATADISK")
    with pytest.raises(Refused, match=r"431 .* is not the root volume"):
        api("createTemplate", user, **{**given, "volumeid": data.id})
    with pytest.raises(Refused, match=r"531 Only root administrators make templates featured"):
        api("createTemplate", user, isfeatured=True, **given)
    foreign = factory(Volume, account_id=factory.account("other").id)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter volumeid"):
        api("createTemplate", user, **{**given, "volumeid": foreign.id})
    limit = factory(ResourceLimit, account_id=cloud.account_id, resource="templates", maximum=1)
    with pytest.raises(Refused, match=r"535 .*may hold 1 templates"):
        api("createTemplate", user, **given)
    assert limit.maximum == 1
    run(api, cloud, user, "startVirtualMachine", id=volume.vm_id)
    with pytest.raises(Refused, match=r"431 .* is Running; to make a template of its volume it must be Stopped"):
        api("createTemplate", user, **given)
    assert factory.first(WorkflowRow, command="startVirtualMachine").status == "done"
