"""The life of virtual machines through the API, with messages carried by hand."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from manager import configuration, db
from manager.models import (
    EventRow,
    Host,
    Nic,
    OsType,
    ResourceLimit,
    ResourceUse,
    SshKeyPair,
    Tag,
    Template,
    Vm,
    Volume,
    WorkflowRow,
)
from manager.models.states import VM_MOVES
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import done, live_cloud, run, statements

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0rVyWJYpN4bH0lOq2m1m6m1uAqUm7Qf2m8sVwq0b6H me@here"


@pytest.fixture
def vm(cloud) -> Vm:
    vm_id = cloud.deploy("web")
    cloud.settle()
    return cloud.get(Vm, vm_id)


def test_stop_start_reboot(api, cloud, user, vm, factory):
    shown = run(api, cloud, user, "stopVirtualMachine", id=vm.id, forced=True)["virtualmachine"]
    assert (shown["state"], shown["ipaddress"]) == ("Stopped", factory.first(Nic, vm_id=vm.id).address)
    assert cloud.domains() == {}
    shown = run(api, cloud, user, "startVirtualMachine", id=vm.id)["virtualmachine"]
    assert (shown["state"], cloud.domains()) == ("Running", {vm.id: "running"})
    assert run(api, cloud, user, "rebootVirtualMachine", id=vm.id, forced=True)["virtualmachine"]["state"] == "Running"
    ended = [event.state for event in events(factory, vm.id, "VM.START")]
    assert ended == ["Scheduled", "Started", "Completed"]


def events(factory, vm_id, kind):
    with db.transaction(factory.engine) as session:
        return session.query(EventRow).filter_by(resource_id=vm_id, type=kind).order_by(EventRow.number).all()


def test_a_host_may_be_named_by_the_administrator_alone(api, cloud, user, vm):
    run(api, cloud, user, "stopVirtualMachine", id=vm.id)
    other = next(host_id for host_id in cloud.hosts if host_id != vm.last_host_id)
    with pytest.raises(Refused, match=r"531"):
        api("startVirtualMachine", user, id=vm.id, hostid=other)
    answer = api("startVirtualMachine", id=vm.id, hostid=other)
    cloud.settle()
    job = api("queryAsyncJobResult", jobid=answer["jobid"])
    assert (job["jobstatus"], job["jobresultcode"]) == (2, 533)
    assert "another host was asked for" in job["jobresult"]["errortext"]
    run(api, cloud, None, "startVirtualMachine", id=vm.id, hostid=vm.last_host_id)
    assert cloud.get(Vm, vm.id).host_id == vm.last_host_id


def test_destroy_recover_destroy_expunge(api, cloud, user, vm, factory):
    shown = run(api, cloud, user, "destroyVirtualMachine", id=vm.id)["virtualmachine"]
    assert shown["state"] == "Destroyed"
    assert use(cloud)[0] == 0
    assert api("listVirtualMachines", user, id=vm.id) == {}
    assert api("listVirtualMachines", id=vm.id)["virtualmachine"][0]["state"] == "Destroyed"
    assert api("listVirtualMachines", listall=True, state="Present") == {}
    for command in ("recoverVirtualMachine", "expungeVirtualMachine"):
        with pytest.raises(Refused, match=r"531 Users may expunge and recover only where"):
            api(command, user, id=vm.id)
    assert api("recoverVirtualMachine", id=vm.id)["virtualmachine"]["state"] == "Stopped"
    assert use(cloud)[:3] == (1, 1, vm.memory)
    run(api, cloud, user, "startVirtualMachine", id=vm.id)
    with pytest.raises(Refused, match=r"531"):
        api("destroyVirtualMachine", user, id=vm.id, expunge=True)
    run(api, cloud, user, "destroyVirtualMachine", id=vm.id)
    assert run(api, cloud, None, "expungeVirtualMachine", id=vm.id) == {"success": True}
    assert api("listVirtualMachines", id=vm.id) == {}
    assert use(cloud) == (0, 0, 0, 0, 0)
    assert factory.first(Volume, vm_id=vm.id).state == "Expunged"


def test_an_administrator_destroys_and_expunges_at_once(api, cloud, vm):
    run(api, cloud, None, "destroyVirtualMachine", id=vm.id, expunge=True)
    cloud.delete_network()
    cloud.settle()
    assert use(cloud) == (0, 0, 0, 0, 0)
    assert cloud.leftovers()["volumes"] == []


def use(cloud):
    row = cloud.get(ResourceUse, cloud.account_id)
    return (row.vms, row.cpus, row.memory, row.volumes, row.primary_storage)


def test_users_expunge_where_the_setting_lets_them(api, cloud, user, vm, monkeypatch):
    name = "allow.user.expunge.recover.vm"
    allowed = configuration.Setting(name, True, "users may")
    monkeypatch.setitem(configuration.SETTINGS, name, allowed)
    run(api, cloud, user, "destroyVirtualMachine", id=vm.id)
    assert api("listVirtualMachines", user, id=vm.id)["virtualmachine"][0]["state"] == "Destroyed"
    api("recoverVirtualMachine", user, id=vm.id)
    run(api, cloud, user, "destroyVirtualMachine", id=vm.id, expunge=True)
    assert api("listVirtualMachines", user, id=vm.id) == {}


def test_recovering_needs_room_and_volumes(api, cloud, user, vm, factory):
    run(api, cloud, user, "destroyVirtualMachine", id=vm.id)
    factory(ResourceLimit, account_id=cloud.account_id, resource="vms", maximum=0)
    with pytest.raises(Refused, match=r"535 .* 0 virtual machines"):
        api("recoverVirtualMachine", id=vm.id)
    assert cloud.get(Vm, vm.id).state == "Destroyed"
    volume = factory.change(factory.first(Volume, vm_id=vm.id), state="Expunging")
    with pytest.raises(Refused, match=r"431 The volumes of the virtual machine .* are gone or going"):
        api("recoverVirtualMachine", id=vm.id)
    factory.change(volume, state="Ready")
    api("expungeVirtualMachine", id=vm.id)
    with pytest.raises(Refused, match=r"536 vms .* is busy with job"):
        api("recoverVirtualMachine", id=vm.id)


FROM = {
    "startVirtualMachine": {"Stopped"},
    "stopVirtualMachine": {"Running"},
    "rebootVirtualMachine": {"Running"},
    "destroyVirtualMachine": {"Running", "Stopped", "Error"},
    "expungeVirtualMachine": {"Destroyed", "Error"},
    "recoverVirtualMachine": {"Destroyed"},
    "resetPasswordForVirtualMachine": {"Stopped"},
}


@pytest.mark.parametrize("command", FROM)
def test_only_from_the_states_that_allow_it(api, cloud, factory, command):
    template = factory(Template, password_enabled=True, state="Ready")
    for state in sorted(VM_MOVES.states):
        vm = factory(Vm, state=state, template_id=template.id, account_id=cloud.account_id)
        factory(Volume, vm_id=vm.id, account_id=cloud.account_id, state="Ready")
        if state in FROM[command]:
            api(command, id=vm.id)
            continue
        with pytest.raises(Refused, match=rf"^431 The virtual machine {vm.id} is {state}; to "):
            api(command, id=vm.id)
        assert cloud.get(Vm, vm.id).state == state


def test_a_busy_vm_is_refused(api, cloud, user, vm):
    job = api("stopVirtualMachine", user, id=vm.id)
    with pytest.raises(Refused, match=rf"536 vms {vm.id} is busy with job {job['jobid']} .stopVirtualMachine."):
        api("rebootVirtualMachine", user, id=vm.id)


def test_update(api, cloud, user, vm, factory):
    data = base64.b64encode(b"hello").decode()
    os_type = factory(OsType)
    changed = api(
        "updateVirtualMachine", user, id=vm.id, displayname="Shown", group="g", userdata=data, ostypeid=os_type.id,
        params={"details[0].k": "v"},
    )["virtualmachine"]  # fmt: skip
    assert (changed["displayname"], changed["group"], changed["details"]) == ("Shown", "g", {"k": "v"})
    assert (changed["ostypeid"], changed["osdisplayname"]) == (os_type.id, os_type.name)
    assert cloud.get(Vm, vm.id).user_data == data
    assert "group" not in api("updateVirtualMachine", user, id=vm.id, group="", cleanupdetails=True)["virtualmachine"]
    assert cloud.get(Vm, vm.id).details == {}
    with pytest.raises(Refused, match=r"431 The virtual machine .* is Running; to be renamed it must be Stopped"):
        api("updateVirtualMachine", user, id=vm.id, name="new")
    with pytest.raises(Refused, match=r"431 The user data is not base64"):
        api("updateVirtualMachine", user, id=vm.id, userdata="?")
    with pytest.raises(Refused, match=r"531"):
        api("updateVirtualMachine", user, id=vm.id, displayvm=False)


def test_renaming(api, cloud, user, vm):
    run(api, cloud, user, "stopVirtualMachine", id=vm.id)
    other = api(
        "deployVirtualMachine", user, name="taken", startvm=False, zoneid=cloud.zone_id, templateid=cloud.template_id,
        serviceofferingid=cloud.offering_id,
    )  # fmt: skip
    with pytest.raises(Refused, match=r"431 .* has one named Taken already"):
        api("updateVirtualMachine", user, id=vm.id, name="Taken")
    with pytest.raises(Refused, match=r"431 The name -a is not a host name"):
        api("updateVirtualMachine", user, id=vm.id, name="-a")
    assert api("updateVirtualMachine", user, id=vm.id, name="New")["virtualmachine"]["name"] == "New"
    with pytest.raises(Refused, match=r"431"):
        api("updateVirtualMachine", user, id=other["id"], name="new")


def test_a_hidden_vm_is_for_administrators(api, cloud, user, vm):
    api("updateVirtualMachine", id=vm.id, displayvm=False)
    assert api("listVirtualMachines", user) == {}
    assert api("listVirtualMachines", listall=True, displayvm=False)["count"] == 1
    assert api("listVirtualMachines", listall=True, displayvm=True) == {}


def test_lists_are_narrowed(api, cloud, user, vm, factory):
    second = cloud.deploy("db")
    cloud.settle()
    factory(Tag, resource_id=vm.id, key="role", value="front", resource_type="UserVm", account_id=cloud.account_id)
    row = cloud.get(Vm, vm.id)

    def names(caller=user, **given):
        answer = api("listVirtualMachines", caller, **given)
        return sorted(shown["name"] for shown in answer.get("virtualmachine", []))

    assert names() == names(zoneid=row.zone_id, networkid=cloud.network_id, state="running") == ["db", "web"]
    assert names(templateid=row.template_id, serviceofferingid=row.service_offering_id) == ["db", "web"]
    assert names(ids=f"{vm.id},{second}") == ["db", "web"]
    assert names(id=vm.id) == names(name="we") == names(keyword="WEB") == ["web"]
    assert names(params={"tags[0].key": "role", "tags[0].value": "front"}) == ["web"]
    assert names(params={"tags[0].key": "role", "tags[0].value": "back"}) == []
    assert names(state="Stopped") == names(name="%") == names(hypervisor="KVM") == []
    assert names(None, listall=True, hostid=row.host_id) != []
    assert names(None) == []
    shown = api("listVirtualMachines", user, page=2, pagesize=1)
    assert (shown["count"], len(shown["virtualmachine"])) == (2, 1)
    with pytest.raises(Refused, match=r"531"):
        names(hostid=row.host_id)
    with pytest.raises(Refused, match=r"431"):
        names(state="Sleeping")


def test_parts_of_a_list(api, cloud, user, vm):
    bare = api("listVirtualMachines", user, details="min")["virtualmachine"][0]
    assert bare["nic"] == []
    assert "templatename" not in bare
    assert "serviceofferingname" not in bare
    some = api("listVirtualMachines", user, details="nics,tmpl")["virtualmachine"][0]
    assert (len(some["nic"]), some["templatename"]) == (1, "tiny")
    whole = api("listVirtualMachines", user)["virtualmachine"][0]
    assert (whole["securitygroup"], whole["affinitygroup"], whole["tags"]) == ([], [], [])
    assert (whole["account"], whole["domain"], whole["domainpath"]) == ("tenant", "ROOT", "ROOT")


def test_a_list_takes_seven_statements_at_any_size(api, cloud, user, vm, factory, engine):
    """Besides the one that knows the caller, and settings, which are kept for seconds."""
    taken = []
    for count in (1, 12):
        while len(api("listVirtualMachines", user)["virtualmachine"]) < count:
            made = factory(Vm, account_id=cloud.account_id, zone_id=cloud.zone_id)
            factory(Nic, vm_id=made.id, network_id=cloud.network_id)
            factory(Tag, resource_id=made.id, key="k", resource_type="UserVm", account_id=cloud.account_id)
        with statements(engine) as sent:
            api("listVirtualMachines", user, page=1, pagesize=count)
        asked = [text for text in sent if not text.startswith("BEGIN") and "FROM api_keys" not in text]
        taken.append([text for text in asked if "FROM configuration" not in text])
    assert len(taken[0]) == len(taken[1]) <= 7, "\n".join(taken[1])


def test_the_password_is_encrypted_for_the_key_pair(api, cloud, user, vm, factory):
    with pytest.raises(Refused, match=r"431 The virtual machine .* has no password"):
        api("getVMPassword", user, id=vm.id)
    factory.change(vm, password="s3cret")
    with pytest.raises(Refused, match=r"431 .*it has no key pair"):
        api("getVMPassword", user, id=vm.id)
    factory.change(vm, public_keys=ED25519, key_pairs=["small"])
    with pytest.raises(Refused, match=r"431 .*its key pairs \(small\) are of other kinds"):
        api("getVMPassword", user, id=vm.id)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    factory.change(vm, public_keys=f"{ED25519}\n{public} me")
    answer = api("getVMPassword", user, id=vm.id)["password"]["encryptedpassword"]
    assert private.decrypt(base64.b64decode(answer), padding.PKCS1v15()) == b"s3cret"


def test_a_new_password(api, cloud, user, vm, factory):
    run(api, cloud, user, "stopVirtualMachine", id=vm.id)
    with pytest.raises(Refused, match=r"431 The template tiny .* sets no password"):
        api("resetPasswordForVirtualMachine", user, id=vm.id)
    factory.change(cloud.get(Template, vm.template_id), password_enabled=True)
    shown = run(api, cloud, user, "resetPasswordForVirtualMachine", id=vm.id)["virtualmachine"]
    assert shown["password"] == cloud.get(Vm, vm.id).password
    assert len(shown["password"]) == 12
    assert "password" not in api("listVirtualMachines", user, id=vm.id)["virtualmachine"][0]


def test_console_output(api, cloud, user, vm, factory):
    shown = run(api, cloud, user, "getConsoleOutput", id=vm.id)["consoleoutput"]
    assert shown["virtualmachineid"] == vm.id
    assert f"pileus simulator: boot 1 of {vm.instance_name}" in shown["output"]
    run(api, cloud, user, "stopVirtualMachine", id=vm.id)
    shown = run(api, cloud, user, "getConsoleOutput", id=vm.id)["consoleoutput"]
    assert f"pileus simulator: boot 1 of {vm.instance_name}" in shown["output"]
    run(api, cloud, None, "destroyVirtualMachine", id=vm.id, expunge=True)
    hypervisors = [runner.host.hypervisor for runner in cloud.runners.values() if runner.host.hypervisor]
    assert [hypervisor.console(vm.id, 100) for hypervisor in hypervisors] == ["", ""]
    never = factory(Vm, account_id=cloud.account_id)
    with pytest.raises(Refused, match=r"431 .*has never run"):
        api("getConsoleOutput", user, id=never.id)


def test_a_domain_administrator_manages_below_and_not_beside(api, cloud, factory, vm):
    domain = factory.domain("sub")
    factory.user("chief", factory.account("chief", domain, type=2))
    chief = Caller.of(factory.engine, "chief")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("stopVirtualMachine", chief, id=vm.id)
    mine = factory(Vm, account_id=factory.account("below", domain).id, state="Running")
    api("stopVirtualMachine", chief, id=mine.id)
    assert [row["id"] for row in api("listVirtualMachines", chief, listall=True)["virtualmachine"]] == [mine.id]
    shown = api("listVirtualMachines", chief, listall=True)["virtualmachine"][0]
    assert "hostid" not in shown
    assert shown["account"] == "below"


def test_a_failed_job_shows_its_reason(api, cloud, user, vm, factory):
    run(api, cloud, user, "stopVirtualMachine", id=vm.id)
    for host_id in cloud.hosts:
        factory.change(cloud.get(Host, host_id), resource_state="Disabled")
    answer = api("startVirtualMachine", user, id=vm.id)
    cloud.settle()
    job = api("queryAsyncJobResult", user, jobid=answer["jobid"])
    assert (job["jobstatus"], job["jobresultcode"]) == (2, 533)
    shown = api("listVirtualMachines", user, id=vm.id)["virtualmachine"][0]
    assert (shown["state"], shown["reason"]) == ("Stopped", job["jobresult"]["errortext"])
    assert factory.first(WorkflowRow, id=answer["jobid"]).status == "failed"


def test_key_pairs_of_a_removed_name_stay_shown(api, cloud, user, vm, factory):
    factory(SshKeyPair, name="kept", account_id=cloud.account_id)
    factory.change(vm, key_pairs=["kept"])
    api("deleteSSHKeyPair", user, name="kept")
    assert api("listVirtualMachines", user, id=vm.id)["virtualmachine"][0]["keypairs"] == "kept"


def test_a_life_on_each_database(any_api, any_factory, tmp_path):
    cloud, user = live_cloud(any_factory, tmp_path)
    answer = any_api(
        "deployVirtualMachine", user, name="web", zoneid=cloud.zone_id, templateid=cloud.template_id,
        serviceofferingid=cloud.offering_id, rootdisksize=5,
    )  # fmt: skip
    cloud.settle()
    vm_id = done(any_api, user, answer)["virtualmachine"]["id"]
    stop = any_api("stopVirtualMachine", user, id=vm_id)
    shown = any_api("listVirtualMachines", user, page=1, pagesize=1)["virtualmachine"][0]
    assert (shown["state"], shown["jobid"], shown["jobstatus"]) == ("Running", stop["jobid"], 0)
    cloud.settle()
    assert any_api("listVolumes", user, virtualmachineid=vm_id)["volume"][0]["size"] == 5 * 2**30
    assert any_api("explainPlacement", user, virtualmachineid=vm_id)["placement"][0]["chosen"] is True
    run(any_api, cloud, user, "destroyVirtualMachine", id=vm_id)
    assert any_api("recoverVirtualMachine", id=vm_id)["virtualmachine"]["state"] == "Stopped"
    run(any_api, cloud, None, "destroyVirtualMachine", id=vm_id, expunge=True)
    assert any_api("listVirtualMachines", id=vm_id) == any_api("listOrphans") == any_api("listDrift") == {}
    assert cloud.leftovers()["volumes"] == []


def test_another_tenants_vm_is_unknown(api, cloud, vm, factory):
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    assert api("listVirtualMachines", stranger, listall=True) == {}
    for command in (
        "startVirtualMachine", "stopVirtualMachine", "rebootVirtualMachine", "destroyVirtualMachine",
        "expungeVirtualMachine", "recoverVirtualMachine", "updateVirtualMachine", "getVMPassword",
        "resetPasswordForVirtualMachine", "getConsoleOutput", "listVirtualMachines",
    ):  # fmt: skip
        with pytest.raises(Refused, match=r"431 .*Invalid parameter id value="):
            api(command, stranger, id=vm.id)
    assert api("listVolumes", stranger, listall=True) == {}
    assert cloud.get(Vm, vm.id).state == "Running"
