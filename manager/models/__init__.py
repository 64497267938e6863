"""The tables. Importing this package knows them all."""

from manager.models.base import Base, Entity, new_id, utcnow
from manager.models.catalog import DiskOffering, NetworkOffering, OsCategory, OsType, ServiceOffering, Template
from manager.models.compute import Nic, NicAddress, Vm, Volume
from manager.models.identity import (
    Account,
    ApiKey,
    Domain,
    LoginSession,
    ResourceLimit,
    ResourceUse,
    Role,
    SshKeyPair,
    Tag,
    User,
)
from manager.models.network import Network, Router, ServiceProvider, VirtualRouterElement
from manager.models.rules import (
    EgressRule,
    FirewallRule,
    IpForwardingRule,
    NetworkRule,
    PortForwardingRule,
    StaticNatRule,
)
from manager.models.topology import (
    Agent,
    Cluster,
    Host,
    ImageStore,
    PhysicalNetwork,
    Pod,
    PublicAddress,
    Region,
    StoragePool,
    TrafficType,
    TunnelKey,
    VlanIpRange,
    Zone,
)
from manager.models.work import (
    AgentCommandRow,
    ClientToken,
    Configuration,
    Counter,
    EventRow,
    Inventory,
    LeaseRow,
    WorkflowRow,
)

__all__ = [
    "Account", "Agent", "AgentCommandRow", "ApiKey", "Base", "ClientToken", "Cluster", "Configuration", "Counter",
    "DiskOffering", "Domain", "EgressRule", "Entity", "EventRow", "FirewallRule", "Host", "ImageStore", "Inventory",
    "IpForwardingRule", "LeaseRow", "LoginSession", "Network", "NetworkOffering", "NetworkRule", "Nic", "NicAddress",
    "OsCategory", "OsType", "PhysicalNetwork", "Pod", "PortForwardingRule", "PublicAddress", "Region", "ResourceLimit",
    "ResourceUse", "Role", "Router", "ServiceOffering", "ServiceProvider", "SshKeyPair", "StaticNatRule", "StoragePool",
    "Tag", "Template", "TrafficType", "TunnelKey", "User", "VirtualRouterElement", "VlanIpRange", "Vm", "Volume",
    "WorkflowRow", "Zone", "new_id", "utcnow",
]  # fmt: skip
