"""The tables. Importing this package knows them all."""

from manager.models.base import Base, Entity, new_id, utcnow
from manager.models.catalog import (
    DiskOffering,
    NetworkOffering,
    OsCategory,
    OsType,
    ServiceOffering,
    Template,
    TemplateShare,
)
from manager.models.compute import Nic, UserData, Vm, Volume
from manager.models.groups import AffinityGroup, AffinityMember, Dedication, InstanceGroup
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
    "Account", "AffinityGroup", "AffinityMember", "Agent", "AgentCommandRow", "ApiKey", "Base", "ClientToken",
    "Cluster", "Configuration", "Counter", "Dedication", "DiskOffering", "Domain", "Entity", "EventRow", "Host",
    "ImageStore", "InstanceGroup", "Inventory", "LeaseRow", "LoginSession", "Network", "NetworkOffering", "Nic",
    "OsCategory", "OsType", "PhysicalNetwork", "Pod", "PublicAddress", "Region", "ResourceLimit", "ResourceUse",
    "Role", "Router", "ServiceOffering", "SshKeyPair", "StoragePool", "Tag", "Template", "TemplateShare",
    "TrafficType", "TunnelKey", "User", "UserData", "VlanIpRange", "Vm", "Volume", "WorkflowRow", "Zone", "new_id",
    "utcnow",
]  # fmt: skip
