"""The tables. Importing this package knows them all."""

from manager.models import changes, meters
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
    DomainLimit,
    DomainUse,
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
from manager.models.notices import Alert, Annotation, Webhook, WebhookDelivery
from manager.models.project import Project, ProjectInvitation, ProjectMember, ProjectRole, ProjectRolePermission
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
from manager.models.usage import UsageJob, UsageRecord, UsageSpan, UsageTraffic
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

meters.register()
changes.register()

__all__ = [
    "Account", "Agent", "AgentCommandRow", "Alert", "Annotation", "ApiKey", "Base", "ClientToken", "Cluster",
    "Configuration", "Counter", "DiskOffering", "Domain", "DomainLimit", "DomainUse", "Entity", "EventRow", "Host",
    "ImageStore", "Inventory", "LeaseRow", "LoginSession", "Network", "NetworkOffering", "Nic", "OfferingDomain",
    "OfferingZone", "OsCategory", "OsType", "PhysicalNetwork", "Pod", "Project", "ProjectInvitation", "ProjectMember",
    "ProjectRole", "ProjectRolePermission", "PublicAddress", "Region", "ResourceLimit", "ResourceUse", "Role",
    "RolePermission", "Router", "ScopedSetting", "ServiceOffering", "SshKeyPair", "StoragePool", "Tag", "Template",
    "TrafficType", "TunnelKey", "UsageJob", "UsageRecord", "UsageSpan", "UsageTraffic", "User", "VlanIpRange", "Vm",
    "Volume", "Webhook", "WebhookDelivery", "WorkflowRow", "Zone", "new_id", "utcnow",
]  # fmt: skip
