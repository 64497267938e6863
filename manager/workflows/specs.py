"""Rows turned into the value objects of the agents' contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agents.contract import DiskSpec, IoPolicy, NicSpec, VmSpec
from manager.models import (
    DiskOffering,
    ImageStore,
    Network,
    Nic,
    ServiceOffering,
    StoragePool,
    Template,
    Vm,
    Volume,
)
from storage.types import CacheMode, Format, ImageSpec, ImageStoreSpec, IoLimits, PoolSpec, Provisioning, VolumeSpec

IO_THREADS, IO_POLICY = "iothreads", "io.policy"
"""CloudStack's names of the details of VMs that say how their disks are served."""
IO_POLICIES = ("native", "threads", "io_uring")
Traits = ServiceOffering | DiskOffering


def pool_spec(pool: StoragePool) -> PoolSpec:
    return PoolSpec(pool.id, pool.driver, pool.path)


def store_spec(store: ImageStore) -> ImageStoreSpec:
    return ImageStoreSpec(store.id, store.driver, store.path)


def image_spec(template: Template, store: ImageStore) -> ImageSpec:
    return ImageSpec(
        template.id,
        store_spec(store),
        cast("Format", template.format.lower()),
        template.size,
        template.physical_size,
        template.checksum,
    )


def volume_spec(
    volume: Volume,
    pool: StoragePool,
    template: Template | None,
    store: ImageStore | None,
    traits: Traits | None = None,
) -> VolumeSpec:
    image = image_spec(template, store) if template is not None and store is not None else None
    made = cast("Provisioning", traits.provisioning if traits is not None else "thin")
    return VolumeSpec(volume.id, pool_spec(pool), volume.size, cast("Format", volume.format), image, made)


def disk_spec(volume: Volume, pool: StoragePool, traits: Traits) -> DiskSpec:
    """`traits` are those of the volume's own offering or, where it has none, of its VM's."""
    limits = IoLimits(**traits.io_limits)
    cache = cast("CacheMode", traits.cache_mode)
    return DiskSpec(volume.id, pool_spec(pool), cast("Format", volume.format), volume.device, cache, limits)


def vm_spec(
    vm: Vm,
    nics: list[Nic],
    networks: dict[str, Network],
    disks: Sequence[DiskSpec],
    offering: ServiceOffering,
) -> VmSpec:
    policy = vm.details.get(IO_POLICY)
    return VmSpec(
        id=vm.id,
        instance_name=vm.instance_name,
        generation=vm.generation,
        cpus=vm.cpus,
        memory=vm.memory,
        cpu_mhz=vm.cpu_mhz,
        nics=tuple(NicSpec(nic.id, nic.network_id, nic.mac, networks[nic.network_id].mtu) for nic in nics),
        disks=tuple(disks),
        hostname=vm.name,
        cpu_capped=offering.limit_cpu_use,
        io_threads=vm.details.get(IO_THREADS) == "true",
        io_policy=cast("IoPolicy", policy) if policy in IO_POLICIES else None,
    )
