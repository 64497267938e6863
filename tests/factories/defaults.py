"""The default values of each model."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

from manager import models as m
from manager.models.identity import PROJECT
from manager.secrets import hash_password


@cache
def _known_hash() -> str:
    return hash_password("password")


def _hash(_factory: Any, _number: int) -> str:
    return _known_hash()


def _of(model: type[Any]) -> Any:
    """The id of a row made for this one."""
    return lambda factory, _number: factory(model).id


def _first(model: type[Any]) -> Any:
    return lambda factory, _number: factory.first(model).id


def _named(prefix: str) -> Any:
    return lambda _factory, number: f"{prefix}-{number}"


def _account(factory: Any, _number: int) -> str:
    return factory.first(m.Account, name="admin").id


def _mac(_factory: Any, number: int) -> str:
    return "02:00:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(4, "big"))


DEFAULTS: dict[type[Any], dict[str, Any]] = {
    m.Account: {"number": lambda _factory, number: number},
    m.User: {"password_hash": _hash, "first_name": "F", "last_name": "L", "email": "f@example.org"},
    m.ApiKey: {"api_key": _named("api-key"), "secret_key": "secret", "name": _named("keys"), "user_id": _of(m.User)},
    m.PacketCapture: {
        "nic_id": _of(m.Nic), "vm_id": m.new_id(), "host_id": m.new_id(), "place": _named("place"),
        "account_id": _account, "wanted": {"seconds": 1, "packets": 1, "size": 4096},
    },
    m.Zone: {"name": _named("zone"), "dns1": "192.0.2.1", "internal_dns1": "192.0.2.1"},
    m.Pod: {
        "zone_id": _of(m.Zone), "name": _named("pod"), "gateway": "10.0.0.1", "netmask": "255.255.255.0",
        "start_ip": "10.0.0.10",
    },
    m.StoragePool: {
        "zone_id": _of(m.Zone), "name": _named("pool"), "scope": "ZONE", "driver": "simulator",
        "url": "simulator:///pool", "path": "/pool",
    },
    m.OsCategory: {"name": _named("category")},
    m.OsType: {"category_id": _of(m.OsCategory), "name": _named("os")},
    m.ServiceOffering: {
        "name": _named("offering"), "display_text": "an offering", "cpus": 1, "cpu_mhz": 500, "memory": 64 * 2**20,
    },
    m.DiskOffering: {"name": _named("disk"), "display_text": "a disk", "size": 2**30},
    m.NetworkOffering: {"name": _named("network-offering"), "display_text": "an offering"},
    m.Template: {
        "name": _named("template"), "display_text": "a template", "account_id": _account, "os_type_id": _of(m.OsType),
        "hypervisor": "KVM", "format": "QCOW2", "url": "http://example.org/t.qcow2",
    },
    m.Vm: {
        "number": lambda _factory, number: number, "name": _named("vm"), "display_name": "a vm",
        "instance_name": _named("i"), "account_id": _account, "zone_id": _of(m.Zone), "template_id": _of(m.Template),
        "service_offering_id": _of(m.ServiceOffering), "os_type_id": _of(m.OsType), "hypervisor": "KVM", "cpus": 1,
        "cpu_mhz": 500, "memory": 64 * 2**20,
    },
    m.PhysicalNetwork: {"zone_id": _of(m.Zone), "name": _named("physical")},
    m.Network: {
        "name": _named("network"), "display_text": "a network", "account_id": _account, "zone_id": _of(m.Zone),
        "offering_id": _of(m.NetworkOffering), "physical_network_id": _of(m.PhysicalNetwork),
        "key": lambda _factory, number: number, "cidr": "10.1.1.0/24", "gateway": "10.1.1.1",
        "netmask": "255.255.255.0", "network_domain": "cs.cloud.internal",
    },
    m.VpcOffering: {"name": _named("vpc-offering"), "display_text": "an offering", "state": "Enabled"},
    m.Vpc: {
        "name": _named("vpc"), "display_text": "a vpc", "account_id": _account, "zone_id": _of(m.Zone),
        "offering_id": _of(m.VpcOffering), "cidr": "10.0.0.0/16", "network_domain": "cs.cloud.internal",
    },
    m.RemoteAccessVpn: {
        "account_id": _account, "address_id": _of(m.PublicAddress), "first_address": "10.1.2.2",
        "last_address": "10.1.2.8", "certificate": "", "authority": "", "private_key": "",
    },
    m.VpnUser: {"account_id": _account, "name": _named("vpn-user"), "password": "secret"},
    m.VpnCustomerGateway: {
        "account_id": _account, "name": _named("customer"), "gateway": "192.0.2.1", "networks": ["10.3.0.0/24"],
        "secret": "secret", "ike_policy": "aes128-sha1;modp1536", "esp_policy": "aes128-sha1",
    },
    m.VpnGateway: {"account_id": _account, "vpc_id": _of(m.Vpc), "address_id": _of(m.PublicAddress)},
    m.VpnConnection: {
        "account_id": _account, "vpc_id": _of(m.Vpc), "gateway_id": _of(m.VpnGateway),
        "customer_gateway_id": _of(m.VpnCustomerGateway),
    },
    m.PrivateGateway: {
        "account_id": _account, "vpc_id": _of(m.Vpc), "physical_network_id": _of(m.PhysicalNetwork), "vlan": 100,
        "address": "172.16.0.2", "gateway": "172.16.0.1", "netmask": "255.255.255.0", "mac": _mac,
        "acl_id": m.acl.DEFAULT_DENY, "state": "Ready",
    },
    m.StaticRoute: {
        "account_id": _account, "vpc_id": _of(m.Vpc), "cidr": "10.9.0.0/24", "next_hop": "10.0.1.2", "state": "Active",
    },
    m.NetworkAclList: {"name": _named("acl"), "description": "a list"},
    m.NetworkAclItem: {
        "list_id": _of(m.NetworkAclList), "number": lambda _factory, number: number, "state": "Active",
    },
    m.SshKeyPair: {"account_id": _account, "name": _named("key"), "fingerprint": "aa:bb", "public_key": "ssh-rsa AAAA"},
    m.UserData: {"account_id": _account, "name": _named("user-data"), "content": "eA=="},
    m.InstanceGroup: {"account_id": _account, "name": _named("group")},
    m.AffinityGroup: {"account_id": _account, "name": _named("affinity"), "type": "host anti-affinity"},
    m.SecurityGroup: {"account_id": _account, "name": _named("security")},
    m.SecurityGroupRule: {
        "group_id": _of(m.SecurityGroup), "account_id": _account, "direction": "ingress", "cidr": "0.0.0.0/0",
        "state": "Active",
    },
    m.Volume: {"name": _named("volume"), "account_id": _account, "zone_id": _of(m.Zone), "size": 2**30},
    m.Agent: {"kind": "host", "public_key": "", "broker_user": _named("agent"), "broker_password": "secret"},
    m.ImageStore: {
        "agent_id": _of(m.Agent), "name": _named("store"), "driver": "simulator", "url": "file:///store",
        "path": "/store",
    },
    m.Cluster: {
        "zone_id": _of(m.Zone), "pod_id": _of(m.Pod), "name": _named("cluster"), "hypervisor": "Simulator",
    },
    m.Host: {
        "zone_id": _of(m.Zone), "pod_id": _of(m.Pod), "cluster_id": _of(m.Cluster), "agent_id": _of(m.Agent),
        "name": _named("host"), "url": "http://host", "hypervisor": "Simulator", "state": "Up",
    },
    m.TrafficType: {"physical_network_id": _of(m.PhysicalNetwork), "traffic_type": "Guest"},
    m.VlanIpRange: {
        "zone_id": _of(m.Zone), "physical_network_id": _of(m.PhysicalNetwork), "gateway": "198.51.100.1",
        "netmask": "255.255.255.0", "start_ip": "198.51.100.10", "end_ip": "198.51.100.19",
    },
    m.PublicAddress: {
        "id": lambda _factory, _number: m.new_id(), "zone_id": _of(m.Zone), "range_id": _of(m.VlanIpRange),
        "address": lambda _factory, number: f"198.51.{number // 256}.{number % 256}", "mac": _mac,
    },
    m.Router: {
        "number": lambda _factory, number: number, "name": _named("r"), "network_id": _of(m.Network),
        "account_id": _account, "zone_id": _of(m.Zone), "state": "Running",
    },
    m.Nic: {
        "network_id": _of(m.Network), "mac": _mac,
        "address": lambda _factory, number: f"10.1.{number // 256}.{number % 256}",
    },
    m.Project: {
        "name": _named("project"), "domain_id": lambda factory, _number: factory.root.id,
        "account_id": lambda factory, number: factory.account(f"PrjAcct-{number}", type=PROJECT).id,
        "owner_id": _account,
    },
    m.ProjectRole: {"project_id": _of(m.Project), "name": _named("role")},
    m.ProjectRolePermission: {"role_id": _of(m.ProjectRole), "rule": "list*", "permission": "allow"},
    m.ProjectMember: {"project_id": _of(m.Project), "account_id": _account},
    m.ProjectInvitation: {
        "project_id": _of(m.Project), "account_id": _account,
        "expires": lambda _factory, _number: m.utcnow() + dt.timedelta(days=1),
    },
    m.Role: {"name": _named("role"), "type": "User", "live": _named("role")},
    m.RolePermission: {
        "role_id": _of(m.Role), "rule": _named("command"), "permission": "allow",
        "position": lambda _factory, number: number,
    },
    m.ManagementServer: {"name": _named("server")},
    m.Alert: {"type": 7, "name": "ALERT.COMPUTE.HOST", "description": "a host is down"},
    m.Extension: {"name": _named("extension"), "path": "tools/run"},
    m.CustomAction: {
        "extension_id": _of(m.Extension), "name": _named("action"), "enabled": True, "allowed_roles": 15,
    },
    m.Webhook: {"name": _named("webhook"), "account_id": _account, "payload_url": "https://hooks.example.org/"},
    m.WebhookDelivery: {
        "webhook_id": _of(m.Webhook), "account_id": _account, "payload_url": "https://hooks.example.org/",
        "payload": "{}",
    },
    m.LdapServer: {"hostname": "ldap.example.org", "port": lambda _factory, number: number},
    m.OauthProvider: {
        "name": _named("provider"), "description": "a provider", "issuer": "https://login.example.org",
        "client_id": "pileus", "secret_key": "secret", "redirect_uri": "https://cloud.example.org/back",
    },
    m.NicAddress: {
        "nic_id": _of(m.Nic), "network_id": _of(m.Network),
        "address": lambda _factory, number: f"10.2.{number // 256}.{number % 256}",
    },
    m.Region: {
        "id": lambda _factory, number: number + 1, "name": _named("region"), "endpoint": "https://cloud.example.org/",
    },
    m.Annotation: {"entity_type": "VM", "text": "a note"},
    m.EventRow: {"type": "VM.START", "description": "started", "resource_type": "VirtualMachine"},
    m.KeyRange: {
        "physical_network_id": _of(m.PhysicalNetwork), "account_id": _account,
        "first": lambda _factory, number: 10 * number, "last": lambda _factory, number: 10 * number + 9,
    },
    m.PortableRange: {
        "region_id": _of(m.Region), "gateway": "203.0.113.1", "netmask": "255.255.255.0", "start_ip": "203.0.113.10",
        "end_ip": "203.0.113.19",
    },
    m.Quarantine: {
        "address_id": lambda _factory, _number: m.new_id(), "address": "198.51.100.9", "account_id": _account,
        "ends": lambda _factory, _number: m.utcnow() + dt.timedelta(hours=1),
    },
    m.ServiceProvider: {"physical_network_id": _of(m.PhysicalNetwork), "name": "VirtualRouter"},
    m.BalancerAppliance: {
        "name": _named("b"), "account_id": _account, "zone_id": _of(m.Zone), "network_id": _of(m.Network),
        "address": "10.1.1.200",
    },
    m.InternalBalancerElement: {"provider_id": _of(m.ServiceProvider)},
    m.VirtualRouterElement: {"provider_id": _of(m.ServiceProvider)},
    m.NetworkRule: {"account_id": _account, "network_id": _of(m.Network), "protocol": "tcp"},
    m.WorkflowRow: {"name": "test", "subject_type": "vms", "subject_id": m.new_id},
}  # fmt: skip
DEFAULTS[m.WorkflowRow]["subject_id"] = lambda _factory, _number: m.new_id()
for _kind in (
    m.FirewallRule, m.EgressRule, m.PortForwardingRule, m.StaticNatRule, m.IpForwardingRule, m.BalancedMember,
):  # fmt: skip
    DEFAULTS[_kind] = DEFAULTS[m.NetworkRule]
DEFAULTS[m.SrxFirewall] = DEFAULTS[m.NetscalerLoadBalancer] = {
    "physical_network_id": _of(m.PhysicalNetwork), "zone_id": _of(m.Zone), "host_id": _of(m.Host), "cable": "eth1",
    "name": _named("device"), "address": "192.0.2.9", "port": 443, "user": "root", "password": "secret",
    "host_key": "", "guest_port": "1/2", "public_interface": "", "public_zone": "", "timeout": 30,
    "mac": "02:00:00:00:00:99", "first_vlan": 2, "last_vlan": 4094, "capacity": 50,
}  # fmt: skip
DEFAULTS |= {
    m.SslCert: {
        "account_id": _account, "name": _named("certificate"), "certificate": "", "private_key": "",
        "fingerprint": "00", "expires": lambda _factory, _number: m.utcnow() + dt.timedelta(days=1),
    },
    m.LoadBalancerRule: {
        **DEFAULTS[m.NetworkRule], "name": _named("balancer"), "protocol": "tcp", "first_port": 80, "last_port": 80,
        "guest_port": 80, "options": lambda _factory, _number: {"algorithm": "roundrobin", "protocol": "tcp"},
    },
    m.StickinessPolicy: {
        **DEFAULTS[m.NetworkRule], "name": _named("sticky"), "related_id": _of(m.LoadBalancerRule),
        "options": lambda _factory, _number: {"params": {}, "means": {"method": "SourceBased"}},
    },
    m.HealthPolicy: {
        **DEFAULTS[m.NetworkRule], "related_id": _of(m.LoadBalancerRule),
        "options": lambda _factory, _number: {
            "path": "/", "timeout": 2, "interval": 5, "healthy": 2, "unhealthy": 10,
        },
    },
}  # fmt: skip
