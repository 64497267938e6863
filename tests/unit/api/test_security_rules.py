"""Rules of security groups through the API: what is asked for, what is shown, and what all hosts are told."""

import pytest

from manager.models import Host, SecurityGroup, SecurityGroupRule
from network.types import PolicyRule, Traffic
from tests.client import Caller, Refused
from tests.unit.api.groups_world import authorize, groups_of, guarded_network, policies
from tests.unit.api.live_cloud import rows, run

TCP = {"protocol": "tcp", "startport": 22, "endport": 23}


@pytest.fixture
def group(api, tenant):
    return api("createSecurityGroup", tenant, name="web")["securitygroup"]["id"]


@pytest.fixture
def guarded(api, cloud, user, wanted):
    """A group, and two virtual machines of it in a network that two hosts hold."""
    made = api("createSecurityGroup", user, name="web")["securitygroup"]["id"]
    network = guarded_network(api, cloud, user)
    vms = [run(api, cloud, user, "deployVirtualMachine", securitygroupids=made, **wanted | {"networkids": network})
           for _ in range(2)]  # fmt: skip
    return made, network, [vm["virtualmachine"] for vm in vms]


def entry(account, group, index=0):
    return {f"usersecuritygrouplist[{index}].account": account, f"usersecuritygrouplist[{index}].group": group}


def test_a_rule_for_each_network_and_group(api, cloud, user, guarded):
    group, network, _ = guarded
    api("createSecurityGroup", user, name="other")
    more = {"cidrlist": "192.0.2.0/24,0.0.0.0/0", "params": entry("tenant", "other")}
    made = authorize(api, cloud, user, group, **TCP, **more)
    (shown,) = api("listSecurityGroups", user, id=group)["securitygroup"]
    assert {rule["ruleid"] for rule in shown["ingressrule"]} == {rule["ruleid"] for rule in made}
    assert [(rule["protocol"], rule["startport"], rule["endport"]) for rule in made] == [("tcp", 22, 23)] * 3
    assert {rule.get("cidr") for rule in made} == {"192.0.2.0/24", "0.0.0.0/0", None}
    assert [(rule["account"], rule["securitygroupname"]) for rule in made if "cidr" not in rule] == [
        ("tenant", "other")
    ]
    assert shown["egressrule"] == []
    again = authorize(api, cloud, user, group, protocol="udp", startport=53, cidrlist="0.0.0.0/0")
    assert [rule["protocol"] for rule in again] == ["udp"]  # only what the call has made
    told = policies(cloud, network)[group]
    assert {rule.id for rule in told} == {rule["ruleid"] for rule in [*made, *again]}


def test_hosts_are_told_what_the_rules_say(api, cloud, user, guarded):
    group, network, _ = guarded
    (one,) = authorize(api, cloud, user, group, **TCP, cidrlist="192.0.2.0/24")
    (two,) = authorize(api, cloud, user, group, protocol="1", icmptype=8, icmpcode=-1, cidrlist="0.0.0.0/0")
    (three,) = authorize(api, cloud, user, group, "Egress", protocol="47", cidrlist="198.51.100.0/24")
    (four,) = authorize(api, cloud, user, group, params=entry("tenant", "web"))
    told = {rule.id: rule for rule in policies(cloud, network)[group]}
    assert told == {
        one["ruleid"]: PolicyRule(one["ruleid"], "ingress", Traffic("tcp", 22, 23, sources=("192.0.2.0/24",))),
        two["ruleid"]: PolicyRule(two["ruleid"], "ingress", Traffic("icmp", icmp_type=8)),
        three["ruleid"]: PolicyRule(
            three["ruleid"], "egress", Traffic("47", destinations=("198.51.100.0/24",))
        ),
        four["ruleid"]: PolicyRule(four["ruleid"], "ingress", Traffic("all"), group=group),
    }  # fmt: skip
    assert (two["protocol"], two["icmptype"], two["icmpcode"], "startport" in two) == ("icmp", 8, -1, False)
    (five,) = authorize(api, cloud, user, group, protocol="GRE", cidrlist="192.0.2.0/24")
    (last,) = [rule for rule in policies(cloud, network)[group] if rule.id == five["ruleid"]]
    assert (five["protocol"], last.traffic) == ("gre", Traffic("47", sources=("192.0.2.0/24",)))
    with pytest.raises(Refused, match=r"431 .* has this rule already"):
        api("authorizeSecurityGroupIngress", user, securitygroupid=group, protocol="47", cidrlist="192.0.2.0/24")
    assert (three["protocol"], three["cidr"]) == ("47", "198.51.100.0/24")


def test_egress_is_open_until_the_first_rule_and_again_after_the_last(api, cloud, user, guarded):
    group, network, vms = guarded
    assert groups_of(cloud, network, vms[0]["ipaddress"]) == {group, "open-egress"}
    assert policies(cloud, network)["open-egress"] == (PolicyRule("open-egress", "egress", Traffic("all")),)
    (rule,) = authorize(api, cloud, user, group, "Egress", **TCP, cidrlist="0.0.0.0/0")
    assert groups_of(cloud, network, vms[0]["ipaddress"]) == {group}
    run(api, cloud, user, "revokeSecurityGroupEgress", id=rule["ruleid"])
    assert groups_of(cloud, network, vms[0]["ipaddress"]) == {group, "open-egress"}


def test_a_revoked_rule_is_gone_from_all_hosts(api, cloud, user, guarded):
    group, network, _ = guarded
    made = authorize(api, cloud, user, group, **TCP, cidrlist="192.0.2.0/24,198.51.100.0/24")
    with pytest.raises(Refused, match=r"431 The rule .* is one of ingress, not of egress"):
        api("revokeSecurityGroupEgress", user, id=made[0]["ruleid"])
    assert run(api, cloud, user, "revokeSecurityGroupIngress", id=made[0]["ruleid"]) == {"success": True}
    assert {rule.id for rule in policies(cloud, network)[group]} == {made[1]["ruleid"]}
    (again,) = authorize(api, cloud, user, group, **TCP, cidrlist="192.0.2.0/24,198.51.100.0/24")
    assert again["cidr"] == made[0]["cidr"]
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id|431 .*removed"):
        api("revokeSecurityGroupIngress", user, id=made[0]["ruleid"])


def test_rules_of_one_group_may_be_changed_all_at_once(api, cloud, user, guarded):
    """One job does not stand in the way of another, as Terraform and Ansible have them at the same time."""
    group, network, _ = guarded
    jobs = [
        api("authorizeSecurityGroupIngress", user, securitygroupid=group, protocol="tcp", startport=port,
            cidrlist="0.0.0.0/0")["jobid"]
        for port in range(1, 9)
    ]  # fmt: skip
    cloud.settle(times=2, shuffle=True)
    assert {api("queryAsyncJobResult", user, jobid=job)["jobstatus"] for job in jobs} == {1}
    assert {rule.traffic.first_port for rule in policies(cloud, network)[group]} == set(range(1, 9))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "At least one cidr or at least one security group"),
        ({"cidrlist": "10.0.0.0"}, "The cidrlist 10.0.0.0 has no prefix length"),
        ({"cidrlist": "::/0"}, "The cidrlist ::/0 is not an IPv4 network"),
        ({"cidrlist": "0.0.0.0/0", "protocol": "sctp"}, "The protocol sctp is none of tcp"),
        ({"cidrlist": "0.0.0.0/0", "protocol": "256"}, "The protocol 256 is none of tcp"),
        ({"cidrlist": "0.0.0.0/0", "startport": 1, "endport": 2}, "Ports are for the protocols tcp and udp"),
        ({"cidrlist": "0.0.0.0/0", "protocol": "tcp", "startport": 3, "endport": 2}, "The port range 3-2 begins after"),
        ({"cidrlist": "0.0.0.0/0", "protocol": "tcp", "startport": 1, "endport": 65536}, "endport"),
        ({"cidrlist": "0.0.0.0/0", "protocol": "tcp", "icmptype": 8}, "ICMP types and codes are for the protocol icmp"),
        ({"cidrlist": "0.0.0.0/0", "protocol": "icmp", "icmpcode": 1}, "needs an icmptype"),
        ({"params": entry("tenant", "nothing")}, "The account tenant has no security group nothing"),
        ({"params": entry("nobody", "default")}, "There is no account nobody in the domain"),
        ({"params": {"usersecuritygrouplist[0].account": "tenant"}}, "Each entry of usersecuritygrouplist has group"),
        ({"cidrlist": "0.0.0.0/0", "securitygroupname": "web"}, "exclude each other"),
        ({"cidrlist": ",".join(f"10.0.{n}.0/24" for n in range(257))}, "cidrlist"),
    ],
)  # fmt: skip
def test_bad_rules_are_refused_with_the_reason(api, tenant, factory, group, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("authorizeSecurityGroupIngress", tenant, method="POST", securitygroupid=group, **given)
    assert rows(factory, SecurityGroupRule) == []


def test_a_rule_is_had_once(api, tenant, factory, group):
    given = {"securitygroupid": group, "protocol": "TCP", "startport": 0, "endport": 65535, "cidrlist": "0.0.0.0/0"}
    api("authorizeSecurityGroupIngress", tenant, **given)
    for same in ({}, {"startport": 0, "endport": 0}, {"startport": None, "endport": None}, {"protocol": "6"}):
        with pytest.raises(Refused, match=r"431 The security group web has this rule already"):
            api("authorizeSecurityGroupIngress", tenant, **given | same)
    (shown,) = api("listSecurityGroups", tenant, id=group)["securitygroup"][0]["ingressrule"]
    assert (shown["startport"], shown["endport"]) == (0, 65535)
    api("authorizeSecurityGroupEgress", tenant, **given)
    (rule,) = rows(factory, SecurityGroupRule, direction="egress")
    factory.change(rule, state="Revoke")
    with pytest.raises(Refused, match=r"431 The rule .* is the same, and is being taken away"):
        api("authorizeSecurityGroupEgress", tenant, **given)


def test_a_group_has_so_many_rules_and_no_more(api, tenant, factory, group):
    for _ in range(499):
        factory(SecurityGroupRule, group_id=group, account_id=tenant.account.id)
    with pytest.raises(Refused, match=r"431 The security group web has 499 rules; with 2 more there were over the 500"):
        api("authorizeSecurityGroupIngress", tenant, securitygroupid=group, cidrlist="10.0.0.0/8,192.0.2.0/24")
    api("authorizeSecurityGroupIngress", tenant, securitygroupid=group, cidrlist="10.0.0.0/8")


def test_a_group_by_name_and_those_of_others(api, tenant, factory, group):
    other = Caller.of(factory.engine, factory.user("other").username)
    api("createSecurityGroup", other, name="theirs")
    api("authorizeSecurityGroupIngress", tenant, securitygroupname="default", params=entry("other", "theirs"))
    (shown,) = api("listSecurityGroups", tenant, securitygroupname="default")["securitygroup"]
    (rule,) = shown["ingressrule"]
    assert (rule["account"], rule["securitygroupname"]) == ("other", "theirs")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter securitygroupid"):
        api("authorizeSecurityGroupIngress", other, securitygroupid=group, cidrlist="0.0.0.0/0")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("revokeSecurityGroupIngress", other, id=rule["ruleid"])
    far = factory.user("far", factory.account("far", factory.domain("elsewhere")))
    with pytest.raises(Refused, match=r"431 There is no account far in the domain of the account tenant"):
        api("authorizeSecurityGroupIngress", tenant, securitygroupid=group, params=entry(far.username, "default"))
    with pytest.raises(Refused, match=r"431 .*missing parameter securitygroupid"):
        api("authorizeSecurityGroupIngress", tenant, cidrlist="0.0.0.0/0")


def test_a_host_that_is_down_is_told_when_it_is_back(api, cloud, user, guarded, factory):
    group, network, vms = guarded
    away = cloud.get(Host, cloud.hosts[1])
    factory.change(away, state="Down")
    queue = f"agent.{away.agent_id}"
    job = api("authorizeSecurityGroupIngress", user, securitygroupid=group, **TCP, cidrlist="0.0.0.0/0")["jobid"]
    api("updateVirtualMachine", user, id=vms[0]["id"], securitygroupnames="default")
    for _ in range(40):
        for message in [one for one in cloud.take_messages() if one[0] != queue]:
            cloud.handle(*message)
        if not cloud.open_workflows():
            break
        cloud.pass_time()
    assert api("queryAsyncJobResult", user, jobid=job)["jobstatus"] == 1
    factory.change(away, state="Up")
    cloud.pass_time()
    cloud.settle()
    assert len(policies(cloud, network)[group]) == 1
    (default,) = rows(factory, SecurityGroup, name="default", account_id=user.account.id)
    assert groups_of(cloud, network, vms[0]["ipaddress"]) == {default.id, "open-egress"}
