"""The kinds of things that can have annotations, and those that can have icons, by CloudStack's names."""

from __future__ import annotations

from typing import Any

from manager import models as m

ENTITIES: dict[str, type[Any]] = {
    "VM": m.Vm, "VOLUME": m.Volume, "INSTANCE_GROUP": m.InstanceGroup, "SSH_KEYPAIR": m.SshKeyPair,
    "USER_DATA": m.UserData, "NETWORK": m.Network, "PUBLIC_IP_ADDRESS": m.PublicAddress, "TEMPLATE": m.Template,
    "SERVICE_OFFERING": m.ServiceOffering, "DISK_OFFERING": m.DiskOffering, "NETWORK_OFFERING": m.NetworkOffering,
    "ZONE": m.Zone, "POD": m.Pod, "CLUSTER": m.Cluster, "HOST": m.Host, "DOMAIN": m.Domain,
    "PRIMARY_STORAGE": m.StoragePool, "SECONDARY_STORAGE": m.ImageStore, "VR": m.Router, "VPC": m.Vpc,
}  # fmt: skip
KIND_OF: dict[Any, str] = {model: kind for kind, model in ENTITIES.items()}

ICONED: dict[str, type[Any]] = {
    "UserVm": m.Vm, "Template": m.Template, "Network": m.Network, "Zone": m.Zone, "Domain": m.Domain,
    "Account": m.Account, "User": m.User, "Project": m.Project, "GuestOsCategory": m.OsCategory, "Vpc": m.Vpc,
}  # fmt: skip
ICON_KINDS = frozenset(ICONED.values())
