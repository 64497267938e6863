"""The tables. Importing this package knows them all."""

from manager.models import changes, measuring
from manager.models.acl import NetworkAclHits, NetworkAclItem, NetworkAclList
from manager.models.appliance import BalancerAppliance
from manager.models.balancing import BalancedMember, HealthPolicy, LoadBalancerRule, SslCert, StickinessPolicy
from manager.models.base import Base, Entity, new_id, utcnow
from manager.models.captures import PacketCapture
from manager.models.catalog import (
    DiskOffering,
    NetworkOffering,
    OfferingDomain,
    OfferingZone,
    OsCategory,
    OsType,
    ServiceOffering,
    Template,
    TemplateShare,
)
from manager.models.compute import Nic, NicAddress, UserData, Vm, VmFigures, Volume
from manager.models.entrance import LdapLink, LdapServer, OauthCode, OauthProvider
from manager.models.extensions import ActionRun, CustomAction, Extension, ExtensionResource, ExtensionSight
from manager.models.groups import AffinityGroup, AffinityMember, Dedication, InstanceGroup
from manager.models.hardware import DeviceNetwork, HardwareDevice, NetscalerLoadBalancer, SrxFirewall
from manager.models.icons import ResourceIcon
from manager.models.identity import (
    Account,
    ApiKey,
    Domain,
    DomainLimit,
    DomainUse,
    LoginSession,
    ResourceLimit,
    ResourceUse,
    Role,
    RolePermission,
    SecondFactor,
    SshKeyPair,
    Tag,
    User,
)
from manager.models.network import (
    InternalBalancerElement,
    Network,
    NetworkShare,
    Router,
    RouterHealthCheck,
    ServiceProvider,
    VirtualRouterElement,
)
from manager.models.notices import Alert, Annotation, Webhook, WebhookDelivery
from manager.models.project import Project, ProjectInvitation, ProjectMember, ProjectRole, ProjectRolePermission
from manager.models.rules import (
    EgressRule,
    FirewallRule,
    IpForwardingRule,
    NetworkRule,
    PortForwardingRule,
    StaticNatRule,
)
from manager.models.security import SecurityGroup, SecurityGroupRule, SecurityMember
from manager.models.servers import ManagementServer
from manager.models.topology import (
    Agent,
    Cluster,
    Host,
    ImageStore,
    KeyRange,
    PhysicalNetwork,
    Pod,
    PortableAddress,
    PortableRange,
    PublicAddress,
    Quarantine,
    Region,
    StoragePool,
    TrafficType,
    TunnelKey,
    VlanIpRange,
    VlanKey,
    Zone,
)
from manager.models.usage import NetworkTraffic, UsageJob, UsageRecord, UsageSpan, UsageTraffic
from manager.models.vpc import PrivateGateway, StaticRoute, Vpc, VpcOffering
from manager.models.vpn import RemoteAccessVpn, VpnConnection, VpnCustomerGateway, VpnGateway, VpnUser
from manager.models.work import (
    AgentCommandRow,
    ClientToken,
    Configuration,
    Counter,
    EventRow,
    Inventory,
    LeaseRow,
    ScopedSetting,
    WorkflowRow,
)

measuring.register()
changes.register()

__all__ = [
    "Account", "ActionRun", "AffinityGroup", "AffinityMember", "Agent", "AgentCommandRow", "Alert", "Annotation",
    "ApiKey", "BalancedMember", "BalancerAppliance", "Base", "ClientToken", "Cluster", "Configuration", "Counter",
    "CustomAction",
    "Dedication", "DeviceNetwork", "DiskOffering", "Domain", "DomainLimit", "DomainUse", "EgressRule", "Entity",
    "EventRow", "Extension", "ExtensionResource", "ExtensionSight", "FirewallRule", "HardwareDevice", "HealthPolicy",
    "Host", "ImageStore", "InstanceGroup", "InternalBalancerElement", "Inventory", "IpForwardingRule", "KeyRange",
    "LdapLink", "LdapServer", "LeaseRow", "LoadBalancerRule", "LoginSession", "ManagementServer",
    "NetscalerLoadBalancer", "Network", "NetworkAclHits", "NetworkAclItem", "NetworkAclList", "NetworkOffering",
    "NetworkRule", "NetworkShare", "NetworkTraffic", "Nic", "NicAddress", "OauthCode", "OauthProvider",
    "OfferingDomain", "OfferingZone", "OsCategory", "OsType", "PacketCapture", "PhysicalNetwork", "Pod",
    "PortForwardingRule", "PortableAddress", "PortableRange", "PrivateGateway", "Project", "ProjectInvitation",
    "ProjectMember", "ProjectRole", "ProjectRolePermission", "PublicAddress", "Quarantine", "Region", "RemoteAccessVpn",
    "ResourceIcon", "ResourceLimit", "ResourceUse", "Role", "RolePermission", "Router", "RouterHealthCheck",
    "ScopedSetting", "SecondFactor", "SecurityGroup", "SecurityGroupRule", "SecurityMember", "ServiceOffering",
    "ServiceProvider", "SrxFirewall", "SshKeyPair", "SslCert", "StaticNatRule", "StaticRoute", "StickinessPolicy",
    "StoragePool", "Tag", "Template", "TemplateShare", "TrafficType", "TunnelKey", "UsageJob", "UsageRecord",
    "UsageSpan", "UsageTraffic", "User", "UserData", "VirtualRouterElement", "VlanIpRange", "VlanKey", "Vm",
    "VmFigures", "Volume", "Vpc", "VpcOffering", "VpnConnection", "VpnCustomerGateway", "VpnGateway", "VpnUser",
    "Webhook", "WebhookDelivery", "WorkflowRow", "Zone", "new_id", "utcnow",
]  # fmt: skip
