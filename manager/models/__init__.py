"""The tables. Importing this package knows them all."""

from manager.models.base import Base, Entity, new_id, utcnow
from manager.models.catalog import (
    DiskOffering,
    NetworkOffering,
    OfferingDomain,
    OfferingZone,
    OsCategory,
    OsType,
    ServiceOffering,
    Template,
)
from manager.models.compute import Nic, Vm, Volume
from manager.models.identity import (
    Account,
    ApiKey,
    Domain,
    LoginSession,
    ResourceLimit,
    ResourceUse,
    Role,
    RolePermission,
    SshKeyPair,
    Tag,
    User,
)
from manager.models.network import Network, Router
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
    "DiskOffering", "Domain", "Entity", "EventRow", "Host", "ImageStore", "Inventory", "LeaseRow", "LoginSession",
    "Network", "NetworkOffering", "Nic", "OfferingDomain", "OfferingZone", "OsCategory", "OsType", "PhysicalNetwork",
    "Pod", "PublicAddress", "Region", "ResourceLimit", "ResourceUse", "Role", "RolePermission", "Router",
    "ServiceOffering", "SshKeyPair", "StoragePool", "Tag", "Template", "TrafficType", "TunnelKey", "User",
    "VlanIpRange", "Vm", "Volume", "WorkflowRow", "Zone", "new_id", "utcnow",
]  # fmt: skip
