"""The libvirt XML of a domain, whole and from the specification only.

Source: libvirt, formatdomain.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lxml import etree

from agents.contract import NicSpec, VmSpec
from agents.host.hypervisor.elements import E
from agents.host.hypervisor.metadata import PARSER, DomainMark, mark_element
from network.names import tap_name
from storage.types import UNLIMITED, CacheMode, DiskSource, IoLimits

KIB = 1024
SERIAL_LENGTH = 20
SHARES_LEAST, SHARES_MOST = 2, 10000
MHZ_PER_SHARE = 10
HOTPLUG_PORTS = 8
CPU_PERIOD, QUOTA_LEAST = 100_000, 1000
"""Microseconds; the kernel takes no quota below the least."""
BALLOON_SECONDS = 30
"""How often the guest tells how much of its memory is free."""
IOTUNE = ("read_bytes", "write_bytes", "read_iops", "write_iops")
SMBIOS = {"manufacturer": "Apache Software Foundation", "product": "CloudStack KVM Hypervisor"}
HOST_OFFLOADS = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
GUEST_OFFLOADS = ("csum", "tso4", "tso6", "ecn", "ufo")


@dataclass(frozen=True, slots=True)
class Platform:
    """What all domains of a host have alike.

    `cpu_model` is 'host-model' or 'host-passthrough' (KVM only), 'maximum', or a model's name. `pc` boots faster
    and hot-plugs without root ports; `q35` gets free root ports. `offloads` must be off on a userspace switch:
    packets would leave the tap with checksums that nobody fills in.
    """

    virt_type: Literal["kvm", "qemu"]
    console_dir: str
    emulator: str = "/usr/bin/qemu-system-x86_64"
    machine: Literal["pc", "q35"] = "pc"
    cpu_model: str = "qemu64"
    cpu_shares: bool = True
    offloads: bool = False
    host_mhz: int = 0


@dataclass(frozen=True, slots=True)
class AttachedDisk:
    """A disk and whether its file system supports O_DIRECT."""

    volume_id: str
    device: int
    source: DiskSource
    direct: bool = True
    cache: CacheMode = "none"
    limits: IoLimits = UNLIMITED


def domain_xml(vm: VmSpec, disks: tuple[AttachedDisk, ...], platform: Platform) -> str:
    """The definition of `vm`; the same input gives the same text."""
    memory = str(-(-vm.memory // KIB))
    parts = [
        E.name(vm.instance_name),
        E.uuid(vm.id),
        E.metadata(mark_element(DomainMark(vm.id, vm.generation, vm.hostname))),
        E.memory(memory, unit="KiB"),
        E.currentMemory(memory, unit="KiB"),
        E.vcpu(str(vm.cpus), placement="static"),
        *([E.iothreads("1")] if vm.io_threads else []),
        *_cputune(vm, platform),
        _smbios(vm.id),
        E.os(E.type("hvm", arch="x86_64", machine=platform.machine), E.boot(dev="hd"), E.smbios(mode="sysinfo")),
        E.features(E.acpi(), E.apic()),
        _cpu(platform),
        _clock(),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        _devices(vm, disks, platform),
    ]
    return etree.tostring(E.domain(*parts, type=platform.virt_type), pretty_print=True, encoding="unicode")


def console_path(console_dir: str, vm_id: str) -> str:
    return f"{console_dir}/{vm_id}.log"


def _cputune(vm: VmSpec, platform: Platform) -> list[etree._Element]:
    """CPU time in proportion to the MHz of all CPUs, within what cgroups of both versions take.

    Each CPU of a capped domain gets that share of the host's CPU that its MHz are of the host's.
    """
    if not platform.cpu_shares or vm.cpu_mhz <= 0:
        return []
    shares = max(SHARES_LEAST, min(SHARES_MOST, vm.cpus * vm.cpu_mhz // MHZ_PER_SHARE))
    tuned = [E.shares(str(shares))]
    if vm.cpu_capped and 0 < vm.cpu_mhz < platform.host_mhz:
        quota = max(QUOTA_LEAST, CPU_PERIOD * vm.cpu_mhz // platform.host_mhz)
        tuned += [E.period(str(CPU_PERIOD)), E.quota(str(quota))]
    return [E.cputune(*tuned)]


def _smbios(vm_id: str) -> etree._Element:
    """What cloud-init recognises its CloudStack data source by."""
    entries = [E.entry(value, name=name) for name, value in SMBIOS.items()]
    return E.sysinfo(E.system(*entries, E.entry(vm_id, name="uuid")), type="smbios")


def _cpu(platform: Platform) -> etree._Element:
    if platform.cpu_model in {"host-model", "host-passthrough", "maximum"}:
        return E.cpu(mode=platform.cpu_model)
    return E.cpu(E.model(platform.cpu_model, fallback="forbid"), mode="custom", match="exact", check="none")


def _clock() -> etree._Element:
    """A guest that was held up catches up on real-time clock ticks and loses those of the interval timer."""
    return E.clock(
        E.timer(name="rtc", tickpolicy="catchup"),
        E.timer(name="pit", tickpolicy="delay"),
        E.timer(name="hpet", present="no"),
        offset="utc",
    )


def _devices(vm: VmSpec, disks: tuple[AttachedDisk, ...], platform: Platform) -> etree._Element:
    return E.devices(
        E.emulator(platform.emulator),
        *(_disk(disk, vm) for disk in sorted(disks, key=lambda disk: disk.device)),
        E.controller(type="usb", model="none"),
        *_root_ports(platform),
        *(_interface(nic, platform) for nic in vm.nics),
        *_console(vm.id, platform),
        E.channel(E.source(mode="bind"), E.target(type="virtio", name="org.qemu.guest_agent.0"), type="unix"),
        E.rng(E.backend("/dev/urandom", model="random"), model="virtio"),
        E.memballoon(E.stats(period=str(BALLOON_SECONDS)), model="virtio"),
    )


def _root_ports(platform: Platform) -> list[etree._Element]:
    """Free slots for hot-plug, which q35 does not have by itself."""
    if platform.machine != "q35":
        return []
    ports = [E.controller(type="pci", model="pcie-root-port") for _ in range(HOTPLUG_PORTS)]
    return [E.controller(type="pci", index="0", model="pcie-root"), *ports]


def _disk(disk: AttachedDisk, vm: VmSpec) -> etree._Element:
    """A virtio disk of the recorded format; a full pool pauses the guest instead of failing its writes.

    Native I/O goes past the page cache, and so wants a disk that does.
    """
    direct = disk.direct and disk.cache == "none"
    policy = vm.io_policy or ("native" if direct else "threads")
    driver = E.driver(
        name="qemu",
        type=disk.source.format,
        cache="none" if direct else disk.cache.replace("none", "writeback"),
        error_policy="enospace",
        io="threads" if policy == "native" and not direct else policy,
        discard="unmap",
        **({"iothread": "1"} if vm.io_threads else {}),
    )
    attribute = "dev" if disk.source.kind == "block" else "file"
    return E.disk(
        driver,
        E.source({attribute: disk.source.path}),
        E.target(dev=device_name(disk.device), bus="virtio"),
        *_iotune(disk.limits),
        E.serial(disk.volume_id.replace("-", "")[:SERIAL_LENGTH]),
        type=disk.source.kind,
        device="disk",
    )


def _iotune(limits: IoLimits) -> list[etree._Element]:
    """The limits that there are. A length without the rate that it is for would be refused."""
    made = []
    for field in IOTUNE:
        for suffix in ("", "_max", "_max_length"):
            value = getattr(limits, f"{field}{suffix}")
            if value and (suffix != "_max_length" or getattr(limits, f"{field}_max")):
                made.append(getattr(E, f"{field}_sec{suffix}")(str(value)))
    return [E.iotune(*made)] if made else []


def device_name(device: int) -> str:
    """The target of a disk: 0 is vda, 25 is vdz, 26 is vdaa."""
    letters = ""
    device += 1
    while device > 0:
        device, digit = divmod(device - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return f"vd{letters}"


def _interface(nic: NicSpec, platform: Platform) -> etree._Element:
    """A NIC on a tap that the agent made and plugged."""
    driver = []
    if not platform.offloads:
        off = E.driver(E.host(dict.fromkeys(HOST_OFFLOADS, "off")), E.guest(dict.fromkeys(GUEST_OFFLOADS, "off")))
        driver = [off]
    return E.interface(
        E.mac(address=nic.mac),
        E.target(dev=tap_name(nic.id), managed="no"),
        E.model(type="virtio"),
        *driver,
        E.mtu(size=str(nic.mtu)),
        E.alias(name=f"ua-{nic.id}"),
        E.rom(enabled="no"),
        type="ethernet",
    )


def interface_xml(nic: NicSpec, platform: Platform) -> str:
    """A NIC by itself, as it is attached to a running domain."""
    return etree.tostring(_interface(nic, platform), encoding="unicode")


def has_interface(text: str, nic: NicSpec) -> bool:
    """Whether the domain of this XML has the NIC."""
    root = etree.fromstring(text.encode(), PARSER)
    return any(mac.get("address") == nic.mac for mac in root.iterfind("devices/interface/mac"))


def _console(vm_id: str, platform: Platform) -> list[etree._Element]:
    """A terminal for live sessions whose output is also kept. Appending lets the driver cut the file in place."""
    path = console_path(platform.console_dir, vm_id)
    return [
        E.serial(E.log(file=path, append="on"), E.target(port="0"), type="pty"),
        E.console(E.log(file=path, append="on"), E.target(type="serial", port="0"), type="pty"),
    ]
