"""deployVirtualMachine over the cloud in one process: what it makes, what it refuses, and that nothing is half made."""

import base64

import pytest
from sqlalchemy import func, select

from manager import db
from manager.models import (
    Account,
    AgentCommandRow,
    Base,
    Host,
    Network,
    Nic,
    ResourceLimit,
    ResourceUse,
    ServiceOffering,
    SshKeyPair,
    Template,
    Vm,
    Volume,
    WorkflowRow,
    Zone,
)
from manager.models.resources import BY_KEY
from tests.client import Refused
from tests.unit.api.live_cloud import statements

MIB, GIB = 2**20, 2**30
LEFT_ALONE = {"events", "client_tokens"}


def counts(engine) -> dict[str, int]:
    with db.transaction(engine) as session:
        tables = [table for table in Base.metadata.sorted_tables if table.name not in LEFT_ALONE]
        return {table.name: session.scalar(select(func.count()).select_from(table)) for table in tables}


def use(cloud) -> tuple[int, ...]:
    row = cloud.get(ResourceUse, cloud.account_id)
    return (row.vms, row.cpus, row.memory, row.volumes, row.primary_storage)


def result(api, caller, job):
    return api("queryAsyncJobResult", caller, jobid=job["jobid"])


def test_a_deployed_vm_runs(api, cloud, user, wanted, factory):
    job = api("deployVirtualMachine", user, name="web", displayname="The web", group="front", **wanted)
    assert set(job) == {"jobid", "id"}
    early = api("listVirtualMachines", user, id=job["id"])["virtualmachine"][0]
    assert (early["state"], early["jobid"], early["jobstatus"]) == ("Starting", job["jobid"], 0)
    cloud.settle()
    done = result(api, user, job)
    assert (done["jobstatus"], done["jobresultcode"], done["jobinstanceid"]) == (1, 0, job["id"])
    vm = done["jobresult"]["virtualmachine"]
    assert (vm["name"], vm["displayname"], vm["group"], vm["state"]) == ("web", "The web", "front", "Running")
    assert (vm["cpunumber"], vm["cpuspeed"], vm["memory"]) == (1, 500, 64)
    (nic,) = vm["nic"]
    assert (nic["networkid"], nic["gateway"], nic["netmask"]) == (cloud.network_id, "10.1.1.1", "255.255.255.0")
    assert (nic["isdefault"], nic["type"], nic["traffictype"]) == (True, "Isolated", "Guest")
    assert nic["ipaddress"] == vm["ipaddress"]
    assert "hostid" not in vm
    assert "instancename" not in vm
    assert cloud.domains() == {job["id"]: "running"}
    row = cloud.get(Vm, job["id"])
    assert row.instance_name == f"i-{cloud.get(Account, cloud.account_id).number}-{row.number}-VM"
    volume = factory.first(Volume, vm_id=row.id)
    assert (volume.name, volume.state, volume.size) == (
        f"ROOT-{row.number}",
        "Ready",
        cloud.get(Template, row.template_id).size,
    )
    seen = api("listVirtualMachines", id=job["id"])["virtualmachine"][0]
    assert (seen["hostid"], seen["hostname"]) == (row.host_id, cloud.get(Host, row.host_id).name)
    assert seen["instancename"] == row.instance_name


def test_a_vm_without_a_name_is_named_by_its_id(api, cloud, user, wanted):
    job = api("deployVirtualMachine", user, **wanted)
    vm = api("listVirtualMachines", user, id=job["id"])["virtualmachine"][0]
    assert vm["name"] == vm["displayname"] == f"VM-{job['id']}"


def test_startvm_false_leaves_it_stopped_and_it_starts_later(api, cloud, user, wanted, factory):
    job = api("deployVirtualMachine", user, name="later", startvm=False, **wanted)
    done = result(api, user, job)
    assert (done["jobstatus"], done["jobresult"]["virtualmachine"]["state"]) == (1, "Stopped")
    assert factory.first(Volume, vm_id=job["id"]).state == "Allocated"
    cloud.settle()
    assert cloud.domains() == {}
    api("startVirtualMachine", user, id=job["id"])
    cloud.settle()
    assert cloud.domains() == {job["id"]: "running"}


def test_the_only_network_is_taken_when_none_is_named(api, cloud, user, wanted, factory):
    del wanted["networkids"]
    job = api("deployVirtualMachine", user, ipaddress="10.1.1.77", **wanted)
    nic = factory.first(Nic, vm_id=job["id"])
    assert (nic.network_id, nic.address) == (cloud.network_id, "10.1.1.77")
    cloud.add_network("second")
    with pytest.raises(Refused, match=r"431 The account tenant has several networks in zone z1"):
        api("deployVirtualMachine", user, **wanted)


def test_networks_and_addresses_in_order(api, cloud, user, wanted, engine):
    second = cloud.add_network("second")
    wanted["networkids"] = None
    listed = {
        "iptonetworklist[0].networkid": second, "iptonetworklist[0].ip": "10.1.1.50",
        "iptonetworklist[1].networkid": cloud.network_id,
    }  # fmt: skip
    job = api("deployVirtualMachine", user, params=listed, **wanted)
    nics = api("listVirtualMachines", user, id=job["id"])["virtualmachine"][0]["nic"]
    assert [(nic["networkid"], nic["isdefault"], nic["deviceid"]) for nic in nics] == [
        (second, True, "0"),
        (cloud.network_id, False, "1"),
    ]
    assert nics[0]["ipaddress"] == "10.1.1.50"


def test_the_root_volume_is_as_large_as_anyone_asks(api, cloud, user, wanted, factory):
    job = api("deployVirtualMachine", user, rootdisksize=9, **wanted)
    assert factory.first(Volume, vm_id=job["id"]).size == 9 * GIB
    big = factory(ServiceOffering, root_disk_size=12 * GIB)
    job = api("deployVirtualMachine", user, rootdisksize=9, **{**wanted, "serviceofferingid": big.id})
    assert factory.first(Volume, vm_id=job["id"]).size == 12 * GIB


def test_a_custom_offering_takes_its_numbers_from_the_details(api, cloud, user, wanted, factory):
    custom = factory(ServiceOffering, cpus=0, cpu_mhz=0, memory=0, customized=True)
    wanted["serviceofferingid"] = custom.id
    numbers = {
        "details[0].cpuNumber": 2,
        "details[0].cpuSpeed": 750,
        "details[0].memory": 128,
        "details[0].color": "blue",
    }
    job = api("deployVirtualMachine", user, params=numbers, **wanted)
    vm = api("listVirtualMachines", user, id=job["id"])["virtualmachine"][0]
    assert (vm["cpunumber"], vm["cpuspeed"], vm["memory"], vm["details"]) == (2, 750, 128, {"color": "blue"})
    assert use(cloud)[1:3] == (2, 128 * MIB)


def test_keys_user_data_and_password_reach_the_guest(api, cloud, user, wanted, factory):
    factory.change(cloud.get(Template, cloud.template_id), password_enabled=True)
    keys = {"one": "ssh-ed25519 AAAA one", "two": "ssh-rsa BBBB two"}
    for name, key in keys.items():
        factory(SshKeyPair, name=name, public_key=key, account_id=cloud.account_id)
    data = base64.b64encode(b"#!/bin/sh").decode()
    job = api("deployVirtualMachine", user, keypair="one", keypairs="two,one", userdata=data, **wanted)
    cloud.settle()
    row = cloud.get(Vm, job["id"])
    assert (row.key_pairs, row.public_keys) == (["one", "two"], "\n".join(keys.values()))
    assert len(row.password) == 12
    specs = [
        spec
        for runner in cloud.runners.values()
        if runner.host.hypervisor
        for spec in runner.host.routers.specs.values()
    ]
    lease = next(lease for spec in specs for lease in spec.legs[0].leases if lease.vm_id == row.id)
    assert (lease.password, lease.user_data, lease.public_keys) == (row.password, data, row.public_keys)
    vm = api("listVirtualMachines", user, id=row.id, userdata=True)["virtualmachine"][0]
    assert (vm["keypairs"], vm["userdata"], vm["passwordenabled"]) == ("one,two", data, True)
    assert "password" not in vm


def test_the_password_is_told_to_the_owner_in_the_job_alone(api, cloud, user, wanted, factory):
    factory.change(cloud.get(Template, cloud.template_id), password_enabled=True)
    job = api("deployVirtualMachine", user, **wanted)
    cloud.settle()
    password = cloud.get(Vm, job["id"]).password
    assert result(api, user, job)["jobresult"]["virtualmachine"]["password"] == password
    assert "password" not in result(api, None, job)["jobresult"]["virtualmachine"]
    for command in ("listAsyncJobs", "listVirtualMachines", "listEvents"):
        assert password not in str(api(command, user))
    stop = api("stopVirtualMachine", user, id=job["id"], forced=True)
    cloud.settle()
    assert "password" not in result(api, user, stop)["jobresult"]["virtualmachine"]


def test_the_same_token_deploys_once(api, cloud, user, wanted, engine):
    first = api("deployVirtualMachine", user, clienttoken="t1", name="once", **wanted)
    assert api("deployVirtualMachine", user, clienttoken="t1", name="once", **wanted) == first
    assert counts(engine)["vms"] == 1
    with pytest.raises(Refused, match=r"431"):
        api("deployVirtualMachine", user, clienttoken="t1", name="other", **wanted)


def test_a_failed_deployment_tells_why_and_holds_nothing(api, cloud, user, wanted, factory):
    for host_id in cloud.hosts:
        factory.change(cloud.get(Host, host_id), resource_state="Disabled")
    before = use(cloud)
    job = api("deployVirtualMachine", user, name="nowhere", **wanted)
    cloud.settle()
    done = result(api, user, job)
    assert (done["jobstatus"], done["jobresultcode"], done["jobresult"]["errorcode"]) == (2, 533, 533)
    vm = api("listVirtualMachines", user, id=job["id"])["virtualmachine"][0]
    assert (vm["state"], vm["nic"]) == ("Error", [])
    assert vm["reason"] == done["jobresult"]["errortext"]
    assert use(cloud) == before


def test_an_administrator_deploys_for_an_account(api, cloud, user, wanted, factory):
    job = api("deployVirtualMachine", account="tenant", domainid=factory.root.id, hostid=cloud.hosts[1], **wanted)
    cloud.settle()
    vm = cloud.get(Vm, job["id"])
    assert (vm.account_id, vm.host_id) == (cloud.account_id, cloud.hosts[1])
    with pytest.raises(Refused, match=r"531 The network net1 .* is not the account admin's"):
        api("deployVirtualMachine", **wanted)


def bad_calls():
    """(what it is, changed parameters, code, text); a callable gets (factory, cloud) and gives the value."""

    def other(model, **values):
        return lambda factory, _: factory(model, account_id=factory.account(f"o{model.__name__}").id, **values).id

    def row(model, **values):
        return lambda factory, _: factory(model, **values).id

    return [
        ("no zone", {"zoneid": None}, 431, "missing parameter zoneid"),
        ("an unknown zone", {"zoneid": "1d9f3dcd-3a9c-4f8e-9e34-0e3c4c1dbd2e"}, 431, "Invalid parameter zoneid"),
        ("no template", {"templateid": None}, 431, "missing parameter templateid"),
        ("no offering", {"serviceofferingid": None}, 431, "missing parameter serviceofferingid"),
        ("a foreign network", {"networkids": other(Network)}, 431, "Invalid parameter networkids"),
        ("a foreign template", {"templateid": other(Template, state="Ready")}, 431, "Invalid parameter templateid"),
        (
            "a template not ready",
            {"templateid": row(Template, state="Registering", is_public=True)},
            431,
            "is Registering",
        ),
        (
            "a template elsewhere",
            {"templateid": lambda f, _: f(Template, state="Ready", is_public=True, zone_id=f(Zone).id).id},
            431,
            "is not in zone z1",
        ),
        ("an offering not active", {"serviceofferingid": row(ServiceOffering, state="Inactive")}, 431, "is Inactive"),
        ("a custom offering", {"serviceofferingid": row(ServiceOffering, cpus=0)}, 431, r"details\[0\].cpunumber"),
        ("a number to a fixed offering", {"details[0].cpuNumber": "2"}, 431, "fixes cpuNumber"),
        (
            "too large a number",
            {"serviceofferingid": row(ServiceOffering, cpus=0), "details[0].cpuNumber": "2000"},
            431,
            "from 1 to 1024, not 2000",
        ),
        ("a network twice", {"networkids": lambda _, c: f"{c.network_id},{c.network_id}"}, 431, "is named twice"),
        (
            "a network elsewhere",
            {"networkids": lambda f, c: f(Network, account_id=c.account_id).id},
            431,
            "is not in zone z1",
        ),
        (
            "a network that goes",
            {"networkids": lambda f, c: f(Network, account_id=c.account_id, zone_id=c.zone_id, state="Destroy").id},
            431,
            "is Destroy",
        ),
        ("both ways of networks", {"iptonetworklist[0].networkid": "x"}, 431, "excludes networkids"),
        ("an address that is none", {"ipaddress": "10.1.1"}, 431, "10.1.1 is not an IPv4 address"),
        ("an address outside", {"ipaddress": "10.1.2.5"}, 431, "is not a host address of 10.1.1.0/24"),
        ("the gateway's address", {"ipaddress": "10.1.1.1"}, 431, "is the gateway"),
        (
            "a taken address",
            {"ipaddress": lambda f, c: f(Nic, network_id=c.network_id, address="10.1.1.9").address},
            533,
            "10.1.1.9 of network net1 is taken",
        ),
        ("a bad name", {"name": "under_score"}, 431, "is not a host name"),
        ("too long a name", {"name": "x" * 64}, 431, "is not a host name"),
        ("an unknown key pair", {"keypair": "nobody"}, 431, "has no SSH key pair nobody"),
        (
            "a foreign key pair",
            {"keypair": lambda f, _: f(SshKeyPair, account_id=f.account("keys").id).name},
            431,
            "has no SSH key pair",
        ),
        ("bad user data", {"userdata": "%%%"}, 431, "is not base64"),
        ("long user data", {"userdata": base64.b64encode(b"x" * 32769).decode()}, 431, "has 32769 bytes"),
        ("a host", {"hostid": lambda _, c: c.hosts[0]}, 531, "hostid"),
        ("another hypervisor", {"hypervisor": "VMware"}, 431, "is for Simulator"),
        ("too large a disk", {"rootdisksize": "65537"}, 431, "at most 65536 GiB"),
        ("no disk", {"rootdisksize": "0"}, 431, "rootdisksize"),
        (
            "a disabled zone",
            {
                "zoneid": row(Zone, allocation_state="Disabled"),
                "templateid": row(Template, state="Ready", is_public=True),
            },
            531,
            "is Disabled",
        ),
        ("another account", {"account": "admin", "domainid": lambda f, _: f.root.id}, 531, "admin"),
    ]  # fmt: skip


@pytest.fixture
def refused(api, cloud, user, wanted, engine):
    """Deploys what is refused, and holds that nothing stays behind."""

    def deploy(text: str, **changed) -> Refused:
        before = counts(engine), use(cloud)
        with pytest.raises(Refused, match=text) as found:
            api("deployVirtualMachine", user, method="POST", params={**wanted, **changed})
        assert (counts(engine), use(cloud)) == before
        assert cloud.take_messages() == []
        return found.value

    return deploy


CASES = bad_calls()


@pytest.mark.parametrize(("changed", "code", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_refused_deployment_leaves_nothing(refused, cloud, factory, changed, code, text):
    changed = {name: value(factory, cloud) if callable(value) else value for name, value in changed.items()}
    assert refused(rf"^{code} .*{text}", **changed).wrapper == "deployvirtualmachineresponse"


@pytest.mark.parametrize(("resource", "maximum"), [("vms", 0), ("cpus", 0), ("memory", 63), ("primary_storage", 0)])
def test_limits_hold(refused, cloud, factory, resource, maximum):
    factory(ResourceLimit, account_id=cloud.account_id, resource=resource, maximum=maximum)
    assert refused(rf"535 .*may hold {maximum} {BY_KEY[resource].label}; it holds 0").body["cserrorcode"] == 4370


def test_a_full_network_is_refused(refused, cloud, factory):
    small = cloud.get(Network, cloud.network_id)
    factory.change(small, cidr="10.1.1.0/30")
    factory(Nic, network_id=small.id, address="10.1.1.2")
    assert refused(r"533 Network net1 .10.1.1.0/30. has no free address").body["cserrorcode"] == 4325


def test_a_name_is_taken_until_its_vm_is_expunged(api, cloud, user, wanted, engine, factory):
    job = api("deployVirtualMachine", user, name="Web", **wanted)
    cloud.settle()
    before = counts(engine)
    with pytest.raises(Refused, match=r"431 The account tenant has a virtual machine web already"):
        api("deployVirtualMachine", user, name="web", **wanted)
    assert counts(engine) == before
    api("destroyVirtualMachine", id=job["id"], expunge=True)
    cloud.settle()
    api("deployVirtualMachine", user, name="web", **wanted)


def test_a_deployment_takes_few_statements(api, cloud, user, wanted, factory, engine):
    """Without those that give out the number, which SQLite alone needs at each call."""
    factory(SshKeyPair, name="key", account_id=cloud.account_id)
    api("deployVirtualMachine", user, **wanted)
    with statements(engine) as sent:
        api("deployVirtualMachine", user, keypair="key", name="counted", **wanted)
    sent = [text for text in sent if "counters" not in text and not text.startswith("BEGIN")]
    assert len(sent) <= 16, "\n".join(sent)


def test_nothing_is_sent_before_the_rows_are_there(api, cloud, user, wanted, factory, engine):
    job = api("deployVirtualMachine", user, **wanted)
    assert factory.first(WorkflowRow, id=job["jobid"]).status == "running"
    with db.transaction(engine) as session:
        assert (
            session.scalar(
                select(func.count()).select_from(AgentCommandRow).where(AgentCommandRow.subject.like("vm:%"))
            )
            == 0
        )
    assert [(task, argument) for _, task, argument in cloud.take_messages()] == [("manager.advance", [job["jobid"]])]
