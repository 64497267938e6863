"""Rows turned into the value objects of the agents' contract."""

from __future__ import annotations

from typing import cast

from agents.contract import DiskSpec, NicSpec, VmSpec
from manager.models import ImageStore, Network, Nic, StoragePool, Template, Vm, Volume
from storage.types import Format, ImageSpec, ImageStoreSpec, PoolSpec, VolumeSpec


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


def volume_spec(volume: Volume, pool: StoragePool, template: Template | None, store: ImageStore | None) -> VolumeSpec:
    image = image_spec(template, store) if template is not None and store is not None else None
    return VolumeSpec(volume.id, pool_spec(pool), volume.size, cast("Format", volume.format), image)


def vm_spec(
    vm: Vm,
    nics: list[Nic],
    networks: dict[str, Network],
    volumes: list[Volume],
    pools: dict[str, StoragePool],
) -> VmSpec:
    return VmSpec(
        id=vm.id,
        instance_name=vm.instance_name,
        generation=vm.generation,
        cpus=vm.cpus,
        memory=vm.memory,
        cpu_mhz=vm.cpu_mhz,
        nics=tuple(NicSpec(nic.id, nic.network_id, nic.mac, networks[nic.network_id].mtu) for nic in nics),
        disks=tuple(
            DiskSpec(volume.id, pool_spec(pools[volume.id]), cast("Format", volume.format), volume.device)
            for volume in volumes
        ),
        hostname=vm.name,
    )
