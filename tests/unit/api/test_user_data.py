"""User data: registered, linked to templates, given to virtual machines, and told to guests."""

import base64
from email import message_from_bytes

import pytest

from manager.api.commands.vm_user_data import combined
from manager.models import Template, UserData, Vm
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import run


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def lease_of(cloud, vm_id):
    routers = [runner.host.routers for runner in cloud.runners.values() if runner.host.hypervisor]
    leases = [lease for router in routers for spec in router.specs.values() for lease in spec.legs[0].leases]
    return next(lease for lease in leases if lease.vm_id == vm_id)


SCRIPT, CONFIG = packed("#!/bin/sh\necho hello\n"), packed("#cloud-config\nhostname: x\n")


def test_register_list_delete(api, tenant, factory):
    made = api("registerUserData", tenant, name="boot", userdata=SCRIPT, params={"params": "color, size"})["userdata"]
    assert (made["name"], made["userdata"], made["params"], made["account"]) == ("boot", SCRIPT, "color,size", "tenant")
    assert api("listUserData", tenant) == {"count": 1, "userdata": [made]}
    assert api("listUserData", tenant, name="other") == {}
    assert api("listUserData") == {}
    with pytest.raises(Refused, match=r"431 The account tenant has user data Boot already"):
        api("registerUserData", tenant, name="Boot", userdata=SCRIPT)
    with pytest.raises(Refused, match=r"431 The parameter name a b is not"):
        api("registerUserData", tenant, name="bad", userdata=SCRIPT, params={"params": "a b"})
    factory.user("stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteUserData", Caller.of(factory.engine, "stranger"), id=made["id"])
    assert api("deleteUserData", tenant, id=made["id"]) == {"success": True}
    assert api("listUserData", tenant) == {}


def test_its_length_is_bounded_by_method_and_setting(api, tenant):
    with pytest.raises(Refused, match=r"431 .*has 4097 bytes; at most 4096 are possible by GET"):
        api("registerUserData", tenant, name="long", userdata=packed("x" * 4097))
    api("registerUserData", tenant, name="long", userdata=packed("x" * 4096))
    api("registerUserData", tenant, name="longer", userdata=packed("x" * 32768), method="POST")
    with pytest.raises(Refused, match=r"431 .*has 32769 bytes; at most 32768 are possible"):
        api("registerUserData", tenant, name="longest", userdata=packed("x" * 32769), method="POST")
    api("updateConfiguration", name="vm.userdata.max.length", value=2**20)
    api("registerUserData", tenant, name="longest", userdata=packed("x" * 2**20), method="POST")


def test_a_vm_has_registered_user_data_and_its_details(api, cloud, user, wanted, factory):
    made = factory(UserData, account_id=cloud.account_id, content=SCRIPT, params="color")
    details = {"userdatadetails[0].color": "blue"}
    job = api("deployVirtualMachine", user, userdataid=made.id, params=details, **wanted)
    cloud.settle()
    lease = lease_of(cloud, job["id"])
    assert (lease.user_data, lease.metadata) == (SCRIPT, {"color": "blue"})
    vm = api("listVirtualMachines", user, id=job["id"], userdata=True)["virtualmachine"][0]
    assert (vm["userdata"], vm["userdataid"], vm["userdataname"]) == (SCRIPT, made.id, made.name)
    assert vm["userdatadetails"] == '{"color": "blue"}'
    assert api("listVirtualMachines", user, userdataid=made.id)["count"] == 1
    told = api("getVirtualMachineUserData", user, virtualmachineid=job["id"])["virtualmachineuserdata"]
    assert told == {"virtualmachineid": job["id"], "userdata": SCRIPT}
    with pytest.raises(Refused, match=r"431 .*still has 1 virtual machines that have it"):
        api("deleteUserData", user, id=made.id)


def test_both_ways_of_user_data_and_odd_details_are_refused(api, cloud, user, wanted, factory):
    made = factory(UserData, account_id=cloud.account_id)
    with pytest.raises(Refused, match=r"431 The parameters userdata and userdataid exclude each other"):
        api("deployVirtualMachine", user, userdataid=made.id, userdata=SCRIPT, **wanted)
    with pytest.raises(Refused, match=r"431 The user data detail a/b is not a name"):
        api("deployVirtualMachine", user, params={"userdatadetails[0].a/b": "x"}, **wanted)
    foreign = factory(UserData, account_id=factory.account("other").id)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter userdataid"):
        api("deployVirtualMachine", user, userdataid=foreign.id, **wanted)


@pytest.mark.parametrize(
    "case",
    [
        ("ALLOWOVERRIDE", None, SCRIPT),
        ("ALLOWOVERRIDE", CONFIG, CONFIG),
        ("APPEND", None, SCRIPT),
        ("APPEND", CONFIG, combined(SCRIPT, CONFIG)),
        ("DENYOVERRIDE", None, SCRIPT),
    ],
)
def test_the_policy_of_a_template(api, cloud, user, wanted, factory, case):
    policy, own, result = case
    linked = factory(UserData, account_id=cloud.account_id, content=SCRIPT)
    shown = api("linkUserDataToTemplate", user, templateid=cloud.template_id, userdataid=linked.id,
                userdatapolicy=policy)["template"]  # fmt: skip
    assert (shown["userdataid"], shown["userdatapolicy"]) == (linked.id, policy)
    job = api("deployVirtualMachine", user, userdata=own, startvm=False, **wanted)
    vm = cloud.get(Vm, job["id"])
    assert vm.user_data == result
    assert vm.user_data_id == (None if own and policy == "ALLOWOVERRIDE" else linked.id)


def test_a_template_may_deny_other_user_data_and_lose_its_own(api, cloud, user, wanted, factory):
    linked = factory(UserData, account_id=cloud.account_id, content=SCRIPT)
    given = {"templateid": cloud.template_id, "userdataid": linked.id, "userdatapolicy": "denyoverride"}
    api("linkUserDataToTemplate", user, **given)
    with pytest.raises(Refused, match=r"431 The template tiny has user data and admits no other"):
        api("deployVirtualMachine", user, userdata=CONFIG, **wanted)
    with pytest.raises(Refused, match=r"431 .*still has 1 templates that it is linked to"):
        api("deleteUserData", user, id=linked.id)
    assert "userdataid" not in api("linkUserDataToTemplate", user, templateid=cloud.template_id)["template"]
    assert cloud.get(Template, cloud.template_id).user_data_policy is None
    api("deleteUserData", user, id=linked.id)


def test_appended_user_data_is_one_archive_of_typed_parts():
    twice = combined(combined(SCRIPT, CONFIG), packed("#include\nhttp://192.0.2.1/x\n"))
    whole = message_from_bytes(base64.b64decode(twice))
    kinds = [part.get_content_type() for part in whole.get_payload()]
    assert kinds == ["text/x-shellscript", "text/cloud-config", "text/x-include-url"]
    assert whole.get_payload(0).get_payload(decode=True).decode() == "#!/bin/sh\necho hello\n"


def test_what_cloud_init_would_not_know_is_not_appended(api, cloud, user, wanted, factory):
    linked = factory(UserData, account_id=cloud.account_id, content=SCRIPT)
    api("linkUserDataToTemplate", user, templateid=cloud.template_id, userdataid=linked.id, userdatapolicy="APPEND")
    with pytest.raises(Refused, match=r"431 .*first line of both tells what they are"):
        api("deployVirtualMachine", user, userdata=packed("plain words"), **wanted)


def test_a_stopped_vm_gets_other_user_data_and_its_guest_is_told_at_the_start(api, cloud, user):
    vm_id = cloud.deploy("web")
    cloud.settle()
    with pytest.raises(Refused, match=r"431 .* is Running; to get other user data it must be Stopped"):
        api("resetUserDataForVirtualMachine", user, id=vm_id, userdata=SCRIPT)
    run(api, cloud, user, "stopVirtualMachine", id=vm_id)
    details = {"userdatadetails[0].k": "v"}
    api("resetUserDataForVirtualMachine", user, id=vm_id, userdata=SCRIPT, params=details)
    api("updateVirtualMachine", user, id=vm_id, userdata=CONFIG)
    run(api, cloud, user, "startVirtualMachine", id=vm_id)
    lease = lease_of(cloud, vm_id)
    assert (lease.user_data, lease.metadata) == (CONFIG, {"k": "v"})
    run(api, cloud, user, "stopVirtualMachine", id=vm_id)
    api("resetUserDataForVirtualMachine", user, id=vm_id)
    assert (cloud.get(Vm, vm_id).user_data, cloud.get(Vm, vm_id).user_data_details) == ("", None)


def test_user_data_is_not_reset_while_a_job_is_at_work(api, cloud, user):
    vm_id = cloud.deploy("web")
    cloud.settle()
    run(api, cloud, user, "stopVirtualMachine", id=vm_id)
    api("startVirtualMachine", user, id=vm_id)
    with pytest.raises(Refused, match=r"536 vms .* is busy with job"):
        api("resetUserDataForVirtualMachine", user, id=vm_id, userdata=SCRIPT)
    cloud.settle()
    assert cloud.get(Vm, vm_id).user_data == ""
