"""Every command that the management server may give an agent, and the value objects in it.

The only module of the agents that the manager imports. A command is wanted state, not a delta: running it twice,
late, or after a kill half way ends in the same state. The contract grows by optional fields only; removing or
renaming makes a new command (`tests/contract/agent_contract.json` shows each change).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import msgspec

from agents.figures import GuestFigures
from network.hardware import DevicePart
from network.redundancy import Role
from network.types import NetworkView, RouterSpec
from network.vpn import TunnelState
from storage.types import UNLIMITED, CacheMode, Format, ImageFacts, ImageStoreSpec, IoLimits, PoolSpec, VolumeSpec

COMMANDS: dict[str, type[Command]] = {}
IoPolicy = Literal["native", "threads", "io_uring"]


class Command:
    """Base of all commands. `timeout` is in seconds: until then the manager sends it again, after it gives up.

    `whole`: each command says all that there is to say of its subject, so one that comes late counts as done.
    """

    name: ClassVar[str]
    timeout: ClassVar[int] = 60
    answer: ClassVar[Any] = None
    whole: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        COMMANDS[cls.name] = cls

    @property
    def subject(self) -> str:
        """What the command is about, as kind:id; commands of one subject are fenced by their sequence."""
        raise TypeError(self.name)


@dataclass(frozen=True, slots=True)
class NicSpec:
    """A NIC of a domain; `network_id` names the tenant network whose view the host holds."""

    id: str
    network_id: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk of a domain: which volume of which pool, and its place on the bus (0 is the root disk)."""

    volume_id: str
    pool: PoolSpec
    format: Format
    device: int = 0
    cache: CacheMode = "none"
    limits: IoLimits = UNLIMITED


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A domain as it must run. `generation` is that of the placement, `memory` in bytes, `cpu_mhz` per CPU.

    `cpu_capped`: its CPUs get no more than that. `io_threads`: a thread of its own serves its disks.
    """

    id: str
    instance_name: str
    generation: int
    cpus: int
    memory: int
    cpu_mhz: int = 0
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    hostname: str = ""
    cpu_capped: bool = False
    io_threads: bool = False
    io_policy: IoPolicy | None = None


@dataclass(frozen=True)
class ApplyNetwork(Command):
    """Make the host's part of one tenant network as `view` says, and run its router here if `router` is given.

    None takes any router of the network alone off this host; that of a VPC goes by ApplyRouter. `devices` are those
    that are cabled to this host and serve the network; one that is here no more is told to forget the network.
    """

    name: ClassVar[str] = "network.apply"
    timeout: ClassVar[int] = 60
    whole: ClassVar[bool] = True
    view: NetworkView
    router: RouterSpec | None = None
    devices: tuple[DevicePart, ...] = ()

    @property
    def subject(self) -> str:
        return f"network:{self.view.id}"


@dataclass(frozen=True)
class ApplyRouter(Command):
    """Run the router of a VPC here as `router` says, or no more when that is None. Views are told by ApplyNetwork."""

    name: ClassVar[str] = "router.apply"
    timeout: ClassVar[int] = 60
    whole: ClassVar[bool] = True
    router_id: str
    router: RouterSpec | None = None

    @property
    def subject(self) -> str:
        return f"router:{self.router_id}"


@dataclass(frozen=True)
class CreateVolume(Command):
    """Make the volume, fetching its template into the host's cache first; a volume that is there is left alone."""

    name: ClassVar[str] = "volume.create"
    timeout: ClassVar[int] = 600
    volume: VolumeSpec

    @property
    def subject(self) -> str:
        return f"volume:{self.volume.id}"


@dataclass(frozen=True)
class RemoveVolume(Command):
    """Remove the volume; one that is gone is no error.

    `expunged` is the id of its VM, when what is kept of that goes too.
    """

    name: ClassVar[str] = "volume.remove"
    timeout: ClassVar[int] = 60
    volume_id: str
    pool: PoolSpec
    expunged: str = ""

    @property
    def subject(self) -> str:
        return f"volume:{self.volume_id}"


@dataclass(frozen=True)
class StartVm(Command):
    """Bring the views up to date, plug the NICs, define and boot the domain; one that runs is left alone."""

    name: ClassVar[str] = "vm.start"
    timeout: ClassVar[int] = 120
    vm: VmSpec
    networks: tuple[ApplyNetwork, ...] = ()

    @property
    def subject(self) -> str:
        return f"vm:{self.vm.id}"


@dataclass(frozen=True)
class StopVm(Command):
    """Shut the domain down by ACPI and, after `grace` seconds or at once when forced, power it off.

    The domain is undefined, its NICs are unplugged and `networks` (views without them) applied; volumes stay. A
    domain that is gone is no error.
    """

    name: ClassVar[str] = "vm.stop"
    timeout: ClassVar[int] = 120
    vm_id: str
    instance_name: str
    forced: bool = False
    grace: int = 60
    nic_ids: tuple[str, ...] = ()
    networks: tuple[ApplyNetwork, ...] = ()

    @property
    def subject(self) -> str:
        return f"vm:{self.vm_id}"


@dataclass(frozen=True)
class RebootVm(Command):
    """Restart the guest of a running domain: by ACPI within `grace` seconds, else by reset."""

    name: ClassVar[str] = "vm.reboot"
    timeout: ClassVar[int] = 120
    vm_id: str
    instance_name: str
    forced: bool = False
    grace: int = 30

    @property
    def subject(self) -> str:
        return f"vm:{self.vm_id}"


@dataclass(frozen=True)
class PlugNic(Command):
    """Give the running domain the NIC `nic_id` of `vm`, which is the domain as it shall be; one it has is left alone.

    `networks` are views with the NIC.
    """

    name: ClassVar[str] = "nic.plug"
    timeout: ClassVar[int] = 60
    vm: VmSpec
    nic_id: str
    networks: tuple[ApplyNetwork, ...] = ()

    @property
    def subject(self) -> str:
        return f"vm:{self.vm.id}"


@dataclass(frozen=True)
class UnplugNic(Command):
    """Take `nic` from the domain, once its guest lets go of it; `vm` is the domain as it shall be, without it.

    `networks` are views without the NIC. One that is gone is no error.
    """

    name: ClassVar[str] = "nic.unplug"
    timeout: ClassVar[int] = 90
    vm: VmSpec
    nic: NicSpec
    networks: tuple[ApplyNetwork, ...] = ()

    @property
    def subject(self) -> str:
        return f"vm:{self.vm.id}"


@dataclass(frozen=True)
class ReadConsole(Command):
    """The last `limit` bytes that the guest wrote to its serial console."""

    name: ClassVar[str] = "vm.console"
    timeout: ClassVar[int] = 30
    vm_id: str
    instance_name: str
    limit: int = 65536

    @property
    def subject(self) -> str:
        return f"console:{self.vm_id}"


@dataclass(frozen=True)
class RegisterImage(Command):
    """Take a template into secondary storage: fetch, verify the checksum, inspect, record. Answers ImageFacts.

    `url` is http, https or file; `max_size` bounds the virtual size; `checksum` is '' or '{alg}hex' or bare hex
    (md5, sha1, sha224, sha256, sha384, sha512 by length).
    """

    name: ClassVar[str] = "image.register"
    timeout: ClassVar[int] = 1800
    answer: ClassVar[Any] = ImageFacts
    image_id: str
    store: ImageStoreSpec
    url: str
    format: Format
    checksum: str
    max_size: int

    @property
    def subject(self) -> str:
        return f"image:{self.image_id}"


@dataclass(frozen=True)
class CaptureVolume(Command):
    """Copy a volume that no domain has open into secondary storage, as an image that stands alone. Answers ImageFacts.

    It goes to a host that reaches the pool. `size` is the volume's; an image that is there is left alone.
    """

    name: ClassVar[str] = "volume.capture"
    timeout: ClassVar[int] = 1800
    answer: ClassVar[Any] = ImageFacts
    image_id: str
    store: ImageStoreSpec
    volume_id: str
    pool: PoolSpec
    size: int

    @property
    def subject(self) -> str:
        return f"image:{self.image_id}"


@dataclass(frozen=True)
class RemoveImage(Command):
    """Remove a template from secondary storage; one that is gone is no error."""

    name: ClassVar[str] = "image.remove"
    timeout: ClassVar[int] = 60
    image_id: str
    store: ImageStoreSpec

    @property
    def subject(self) -> str:
        return f"image:{self.image_id}"


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain as libvirt shows it. `vm_id` is its uuid; `generation` is -1 when Pileus did not define it."""

    vm_id: str
    instance_name: str
    state: Literal["running", "paused", "shutoff", "crashed", "other"]
    generation: int = -1


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host can give. `memory` in bytes, `virt_type` is what the boot probe proved, not what is claimed."""

    hostname: str
    cpus: int
    cpu_mhz: int
    memory: int
    virt_type: Literal["kvm", "qemu", "simulator"]
    hypervisor_version: str = ""
    switch_version: str = ""
    underlay_address: str = ""
    boot_id: str = ""
    disk_total: int = 0
    disk_used: int = 0


@dataclass(frozen=True, slots=True)
class HostReport:
    """A heartbeat: sent every few seconds, whole. `sequence` grows within one `incarnation` of the agent."""

    incarnation: str
    sequence: int
    facts: HostFacts
    domains: tuple[DomainFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """A tenant network found on the host: its key and the NIC ids that have a port on the switch."""

    network_id: str
    key: int
    generation: int
    nic_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NicTraffic:
    """Bytes through a guest's NIC, as the guest sees them, since its domain was started."""

    nic_id: str
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class RuleHits:
    """Packets that a rule of a policy has decided on the host since its flows were made; those with any."""

    rule_id: str
    packets: int


@dataclass(frozen=True, slots=True)
class TunnelFacts:
    """How a tunnel of a router to another site is."""

    tunnel_id: str
    state: TunnelState


@dataclass(frozen=True, slots=True)
class RouterRole:
    """Which of a redundant pair the router is at the moment."""

    router_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class DeviceDrift:
    """What a hardware device, named by its address, has of a network otherwise than it was told: more (+), less (-) or
    other (~).
    """

    network_id: str
    device: str
    difference: str


@dataclass(frozen=True, slots=True)
class HostInventory:
    """All that Pileus made on a host, as the host itself shows it; sent every so often, whole.

    `flow_drift` lists flows that differ from those computed from the views that the host holds; `unknown` what
    bears our marks but no known id. `sequence` grows within one `incarnation` of the agent.
    """

    incarnation: str = ""
    sequence: int = 0

    domains: tuple[DomainFacts, ...] = ()
    volumes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    networks: tuple[NetworkFacts, ...] = ()
    routers: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    flow_drift: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    traffic: tuple[NicTraffic, ...] = ()
    rule_hits: tuple[RuleHits, ...] = ()
    guests: tuple[GuestFigures, ...] = ()
    tunnels: tuple[TunnelFacts, ...] = ()
    roles: tuple[RouterRole, ...] = ()
    device_drift: tuple[DeviceDrift, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent answers to a command; `error` is a sentence that a user may read."""

    command_id: str
    ok: bool
    result: Any = None
    error: str = ""
    retryable: bool = False
    detail: dict[str, str] = field(default_factory=dict)


def to_plain(value: Any) -> Any:
    """JSON-ready form of any value object of this module."""
    return msgspec.to_builtins(value)


def command_from(name: str, arguments: Any) -> Command:
    """The command that `to_plain` took apart. :raises msgspec.ValidationError: a field is missing or mistyped."""
    return msgspec.convert(arguments, COMMANDS[name])


def answer_as(command: type[Command], result: Any) -> Any:
    """The typed answer of `command`. :raises msgspec.ValidationError: the agent sent another shape."""
    return result if command.answer is None else msgspec.convert(result, command.answer)
