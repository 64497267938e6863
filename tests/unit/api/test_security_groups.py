"""Security groups through the API: names, the group default, members, removal, and who may do it."""

import pytest

from manager.models import SecurityGroup, SecurityGroupRule, SecurityMember, Vm
from tests.client import Caller, Refused
from tests.unit.api.groups_world import authorize, groups_of, guarded_network, policies, views
from tests.unit.api.live_cloud import costs, rows, run
from tests.unit.api.site import ZONE


def names(api, caller, **given):
    return [one["name"] for one in api("listSecurityGroups", caller, **given).get("securitygroup", [])]


@pytest.fixture
def guarded(api, cloud, user, wanted):
    """What a virtual machine is deployed with into a network that has security groups."""
    return wanted | {"networkids": guarded_network(api, cloud, user)}


def ids(api, user, *wanted):
    return [api("createSecurityGroup", user, name=name)["securitygroup"]["id"] for name in wanted]


def test_create_list_rename_delete(api, tenant, factory):
    assert names(api, tenant) == ["default"]
    made = api("createSecurityGroup", tenant, name=" web ", description="d")["securitygroup"]
    assert (made["name"], made["description"], made["account"], made["domainpath"]) == ("web", "d", "tenant", "ROOT")
    assert (made["ingressrule"], made["egressrule"], made["tags"]) == ([], [], [])
    assert (made["virtualmachinecount"], made["virtualmachineids"]) == (0, [])
    assert names(api, tenant) == ["default", "web"]
    assert names(api, tenant, securitygroupname="web") == names(api, tenant, keyword="we") == ["web"]
    assert names(api, tenant, id=made["id"]) == ["web"]
    for name in ("WEB", "default", "Default"):
        with pytest.raises(Refused, match=rf"431 The account tenant has a security group {name} already"):
            api("createSecurityGroup", tenant, name=name)
    with pytest.raises(Refused, match="432"):
        api("updateSecurityGroup", tenant, id=made["id"], name="www")
    assert api("updateSecurityGroup", id=made["id"], name="www")["securitygroup"]["name"] == "www"
    with pytest.raises(Refused, match=r"431 The name default is that of the group"):
        api("updateSecurityGroup", id=made["id"], name="Default")
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteSecurityGroup", stranger, id=made["id"])
    with pytest.raises(Refused, match=r"431 The account stranger has no security group www"):
        api("deleteSecurityGroup", stranger, name="www")
    with pytest.raises(Refused, match=r"431 .*missing parameter id"):
        api("deleteSecurityGroup", tenant)
    with pytest.raises(Refused, match=r"431 The security group default stays"):
        api("deleteSecurityGroup", tenant, name="default")
    assert api("deleteSecurityGroup", tenant, name="www") == {"success": True}
    assert names(api, tenant) == ["default"]


def test_the_default_group_is_made_once_and_for_those_that_are_asked_for(api, tenant, factory, engine):
    assert api("listSecurityGroups", listall=True)["count"] == 1  # the administrator's own
    names(api, tenant)
    names(api, tenant)
    assert len(rows(factory, SecurityGroup, account_id=tenant.account.id)) == 1
    assert set(names(api, None, listall=True)) == {"default"}
    assert api("listSecurityGroups", listall=True)["count"] == 2


def test_a_project_has_its_own(api, tenant, factory):
    made = api("createProject", tenant, name="p", displaytext="p")
    project = made["id"]
    assert names(api, tenant, projectid=project) == ["default"]
    shown = api("createSecurityGroup", tenant, name="web", projectid=project)["securitygroup"]
    assert (shown["project"], "account" in shown) == ("p", False)
    assert names(api, tenant, projectid=project) == ["default", "web"]
    assert names(api, tenant) == ["default"]


def test_tags_and_statements(api, tenant, factory, engine):
    (group,) = ids(api, tenant, "web")
    api("createTags", tenant, resourcetype="SecurityGroup", resourceids=group, params={"tags[0].key": "k",
        "tags[0].value": "v"})  # fmt: skip
    wanted = {"params": {"tags[0].key": "k", "tags[0].value": "v"}}
    (shown,) = api("listSecurityGroups", tenant, **wanted)["securitygroup"]
    assert [(tag["key"], tag["resourceid"]) for tag in shown["tags"]] == [("k", group)]

    def make():
        row = factory(SecurityGroup, account_id=tenant.account.id)
        factory(SecurityGroupRule, group_id=row.id, account_id=row.account_id, cidr=None, source_id=group)

    spent = costs(engine, make, lambda: api("listSecurityGroups", tenant, keyword="security"))
    assert len(set(spent.values())) == 1


def test_a_vm_is_in_default_unless_others_are_named(api, cloud, user, guarded):
    one, two = ids(api, user, "one", "two")
    plain = run(api, cloud, user, "deployVirtualMachine", **guarded)["virtualmachine"]
    assert [group["name"] for group in plain["securitygroup"]] == ["default"]
    named = run(api, cloud, user, "deployVirtualMachine", securitygroupnames="One,two", **guarded)["virtualmachine"]
    assert [group["id"] for group in named["securitygroup"]] == [one, two]
    network = guarded["networkids"]
    assert groups_of(cloud, network, named["ipaddress"]) == {one, two, "open-egress"}
    assert {view.has_groups for view in views(cloud, network)} == {True}
    (listed,) = api("listVirtualMachines", user, securitygroupid=one)["virtualmachine"]
    assert listed["id"] == named["id"]
    assert names(api, user, virtualmachineid=named["id"]) == ["one", "two"]
    (shown,) = api("listSecurityGroups", user, id=two)["securitygroup"]
    assert (shown["virtualmachinecount"], shown["virtualmachineids"]) == (1, [named["id"]])
    (bare,) = api("listVirtualMachines", user, id=named["id"], details="min")["virtualmachine"]
    assert "securitygroup" not in bare


def test_groups_that_a_vm_cannot_have_are_refused(api, cloud, user, wanted, guarded, factory):
    (one,) = ids(api, user, "one")
    foreign = factory(SecurityGroup).id
    with pytest.raises(Refused, match=r"431 None of its networks has security groups"):
        api("deployVirtualMachine", user, securitygroupids=one, **wanted)
    with pytest.raises(Refused, match=r"431 .* exclude each other"):
        api("deployVirtualMachine", user, securitygroupids=one, securitygroupnames="one", **guarded)
    with pytest.raises(Refused, match=r"431 The account tenant has no security group three"):
        api("deployVirtualMachine", user, securitygroupnames="three", **guarded)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter securitygroupids"):
        api("deployVirtualMachine", user, securitygroupids=foreign, **guarded)
    own = guarded | {"networkids": guarded_network(api, cloud, None, "own")}
    with pytest.raises(Refused, match=r"531 The security group one .* is not the account admin's"):
        api("deployVirtualMachine", securitygroupids=one, **own)
    unguarded = run(api, cloud, user, "deployVirtualMachine", **wanted)["virtualmachine"]
    assert unguarded["securitygroup"] == []
    with pytest.raises(Refused, match=r"431 None of its networks has security groups"):
        api("updateVirtualMachine", user, id=unguarded["id"], securitygroupids=one)


def test_the_groups_of_a_running_vm_change_at_once_on_all_hosts(api, cloud, user, guarded):
    one, two = ids(api, user, "one", "two")
    network = guarded["networkids"]
    vms = [run(api, cloud, user, "deployVirtualMachine", securitygroupids=one, **guarded)["virtualmachine"]
           for _ in range(2)]  # fmt: skip
    assert len(views(cloud, network)) == 2
    shown = api("updateVirtualMachine", user, id=vms[0]["id"], securitygroupids=two)["virtualmachine"]
    assert [group["name"] for group in shown["securitygroup"]] == ["two"]
    shown = api("updateVirtualMachine", user, id=vms[0]["id"], securitygroupnames="two,one")["virtualmachine"]
    shown = api("updateVirtualMachine", user, id=vms[0]["id"], securitygroupnames="two")["virtualmachine"]
    api("updateVirtualMachine", user, id=vms[0]["id"], displayname="x")
    cloud.settle()
    assert groups_of(cloud, network, vms[0]["ipaddress"]) == {two, "open-egress"}
    assert groups_of(cloud, network, vms[1]["ipaddress"]) == {one, "open-egress"}
    run(api, cloud, user, "stopVirtualMachine", id=vms[0]["id"])
    api("updateVirtualMachine", user, id=vms[0]["id"], securitygroupids=f"{one},{two}")
    cloud.settle()
    run(api, cloud, user, "startVirtualMachine", id=vms[0]["id"])
    assert groups_of(cloud, network, vms[0]["ipaddress"]) == {one, two, "open-egress"}


def test_a_group_in_use_stays(api, cloud, user, guarded):
    one, two, three = ids(api, user, "one", "two", "three")
    vm = run(api, cloud, user, "deployVirtualMachine", securitygroupids=one, **guarded)["virtualmachine"]["id"]
    with pytest.raises(Refused, match=r"536 The security group one cannot be removed: 1 virtual machines are in it"):
        api("deleteSecurityGroup", user, id=one)
    groups = {"usersecuritygrouplist[0].account": "tenant", "usersecuritygrouplist[0].group": "two"}
    (rule,) = authorize(api, cloud, user, three, params=groups)
    with pytest.raises(Refused, match=r"536 The security group two cannot be removed: a rule of the group three names"):
        api("deleteSecurityGroup", user, id=two)
    run(api, cloud, user, "revokeSecurityGroupIngress", id=rule["ruleid"])
    api("deleteSecurityGroup", user, id=two)
    run(api, cloud, user, "destroyVirtualMachine", id=vm)
    with pytest.raises(Refused, match=r"536 .* 1 virtual machines"):  # it may be recovered
        api("deleteSecurityGroup", user, id=one)
    run(api, cloud, None, "expungeVirtualMachine", id=vm)
    api("deleteSecurityGroup", user, id=one)
    assert names(api, user) == ["default", "three"]


def test_a_vm_that_is_handed_on_leaves_its_groups(api, cloud, user, guarded, factory):
    (one,) = ids(api, user, "one")
    vm = run(api, cloud, user, "deployVirtualMachine", securitygroupids=one, **guarded)["virtualmachine"]["id"]
    run(api, cloud, user, "stopVirtualMachine", id=vm)
    heir = Caller.of(factory.engine, factory.user("heir").username)
    target = {"account": "heir", "domainid": factory.root.id, "virtualmachineid": vm}
    network = guarded_network(api, cloud, heir, "of the heir")
    shown = api("assignVirtualMachine", networkids=network, **target)["virtualmachine"]
    assert [group["name"] for group in shown["securitygroup"]] == ["default"]
    assert rows(factory, SecurityMember, group_id=one) == []
    (two,) = ids(api, heir, "two")
    back = {"account": "tenant", "domainid": factory.root.id, "virtualmachineid": vm}
    with pytest.raises(Refused, match=r"531 The security group two .* is not the account tenant's"):
        api("assignVirtualMachine", networkids=guarded["networkids"], securitygroupids=two, **back)
    shown = api("assignVirtualMachine", networkids=guarded["networkids"], securitygroupids=one, **back)
    assert [group["name"] for group in shown["virtualmachine"]["securitygroup"]] == ["one"]


def test_a_nic_in_such_a_network_brings_the_group_default(api, cloud, user, wanted, guarded):
    vm = run(api, cloud, user, "deployVirtualMachine", **wanted)["virtualmachine"]
    given = {"virtualmachineid": vm["id"], "networkid": guarded["networkids"]}
    shown = run(api, cloud, user, "addNicToVirtualMachine", **given)["virtualmachine"]
    (default,) = shown["securitygroup"]
    assert default["name"] == "default"
    assert groups_of(cloud, guarded["networkids"], shown["nic"][1]["ipaddress"]) == {default["id"], "open-egress"}
    assert all(not nic.groups for view in views(cloud, wanted["networkids"]) for nic in view.nics)


def test_groups_go_with_their_account(api, cloud, user, guarded, factory):
    (one,) = ids(api, user, "one")
    run(api, cloud, user, "deployVirtualMachine", securitygroupids=one, **guarded)
    authorize(api, cloud, user, one, protocol="tcp", startport=22, cidrlist="0.0.0.0/0")
    run(api, cloud, None, "deleteAccount", id=user.account.id)
    assert {row.removed is None for row in rows(factory, SecurityGroup, account_id=user.account.id)} == {False}
    assert {row.removed is None for row in rows(factory, SecurityGroupRule)} == {False}
    assert {row.removed is None for row in rows(factory, Vm)} == {False}


def test_a_zone_may_want_security_groups_in_all_its_networks(api, cloud, user):
    shown = api("createZone", name="z2", securitygroupenabled=True, **ZONE)["zone"]
    assert shown["securitygroupsenabled"] is True
    assert api("listCapabilities", user)["capability"]["securitygroupsenabled"] is True
    (offering,) = api("listNetworkOfferings", user, isdefault=True, forvpc=False)["networkoffering"][:1]
    with pytest.raises(Refused, match=r"431 The zone z2 has security groups: its networks need an offering"):
        api("createNetwork", name="n", zoneid=shown["id"], networkofferingid=offering["id"])


def test_networks_without_the_service_are_told_of_no_groups(api, cloud, user, wanted):
    run(api, cloud, user, "deployVirtualMachine", **wanted)
    (view,) = {view.has_groups for view in views(cloud, wanted["networkids"])}
    assert view is False
    assert policies(cloud, wanted["networkids"]) == {}
