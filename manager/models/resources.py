"""What is limited and counted: the resource types of CloudStack, each said once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ACCOUNT, DOMAIN, PROJECT = "account", "domain", "project"
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Resource:
    """`number` and `name` are CloudStack's; `key` is the column of ResourceUse where it is counted.

    Limits are in units of `unit` (bytes for memory and storage, else 1); what is counted is not. `defaults` are the
    limits of an account, a domain and a project without one of its own. `setting` ends the name of the setting that
    holds them, and `shown` begins the fields that responses show.
    """

    number: int
    name: str
    key: str
    label: str
    setting: str
    shown: str
    defaults: tuple[int, int, int] = (20, 40, 20)
    unit: int = 1

    def scopes(self) -> Iterator[tuple[str, str, int]]:
        """The kinds of holders that a limit of it can bind: (kind, name of the setting, its default)."""
        for kind, default in zip((ACCOUNT, DOMAIN, PROJECT), self.defaults, strict=True):
            if kind != PROJECT or self.key != "projects":
                yield kind, self.setting_of(kind), default

    def setting_of(self, kind: str) -> str:
        return f"max.{kind}.{self.setting}"


RESOURCES: tuple[Resource, ...] = (
    Resource(0, "user_vm", "vms", "virtual machines", "user.vms", "vm"),
    Resource(1, "public_ip", "public_addresses", "public addresses", "public.ips", "ip"),
    Resource(2, "volume", "volumes", "volumes", "volumes", "volume"),
    Resource(3, "snapshot", "snapshots", "snapshots", "snapshots", "snapshot"),
    Resource(4, "template", "templates", "templates", "templates", "template"),
    Resource(5, "project", "projects", "projects", "projects", "project", (10, 50, 0)),
    Resource(6, "network", "networks", "networks", "networks", "network"),
    Resource(7, "vpc", "vpcs", "VPCs", "vpcs", "vpc"),
    Resource(8, "cpu", "cpus", "CPUs", "cpus", "cpu", (40, 80, 40)),
    Resource(9, "memory", "memory", "MiB of memory", "memory", "memory", (40960, 81920, 40960), MIB),
    Resource(
        10, "primary_storage", "primary_storage", "GiB of primary storage", "primary.storage", "primarystorage",
        (200, 400, 200), GIB,
    ),
    Resource(
        11, "secondary_storage", "secondary_storage", "GiB of secondary storage", "secondary.storage",
        "secondarystorage", (400, 800, 400), GIB,
    ),
    Resource(12, "backup", "backups", "backups", "backups", "backup"),
    Resource(
        13, "backup_storage", "backup_storage", "GiB of backup storage", "backup.storage", "backupstorage",
        (400, 800, 400), GIB,
    ),
    Resource(14, "bucket", "buckets", "buckets", "buckets", "bucket"),
    Resource(
        15, "object_storage", "object_storage", "GiB of object storage", "object.storage", "objectstorage",
        (400, 800, 400), GIB,
    ),
    Resource(16, "gpu", "gpus", "GPUs", "gpus", "gpu"),
)  # fmt: skip

BY_KEY = {resource.key: resource for resource in RESOURCES}
BY_NUMBER = {resource.number: resource for resource in RESOURCES}
BY_NAME = {resource.name: resource for resource in RESOURCES}
