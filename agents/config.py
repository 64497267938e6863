"""Settings of an agent process: its join document and the settings of its own machine, in one JSON file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent needs. The first part comes from `manager.cli join-document`, the rest is the host's own.

    `hypervisor` is a key of agents.host.hypervisor.DRIVERS. `file_roots` are the directories that image URLs of
    scheme file may point into, `allow_networks` those private networks that images may be fetched from.
    `latency_seconds` is what each change takes on a simulated hypervisor.
    """

    agent_id: str
    kind: str
    subject_id: str
    broker_url: str
    broker_user: str = ""
    broker_password: str = ""
    manager_public_key: str

    private_key_file: str
    journal: str
    state_dir: str
    hypervisor: str = "libvirt"
    libvirt_uri: str = "qemu:///system"
    ovs_rundir: str = "/run/openvswitch"
    datapath: str = "system"
    integration_bridge: str = "br-int"
    underlay_address: str = ""
    underlay_device: str = ""
    image_cache: str = ""
    virt_type: str = "auto"
    cpu_shares: bool = True
    file_roots: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
    disk_path: str = "/"
    threads: int = 4
    heartbeat_seconds: float = 5.0
    inventory_seconds: float = 15.0
    hostname: str = ""
    latency_seconds: float = 0.0

    @property
    def url(self) -> str:
        """The broker's URL with this agent's account in it."""
        scheme, _, rest = self.broker_url.partition("://")
        if not self.broker_user:
            return self.broker_url
        place = rest.rpartition("@")[2]
        return f"{scheme}://{quote(self.broker_user)}:{quote(self.broker_password)}@{place}"


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Simulated hosts, all in one process; `agents` are their join documents with key files and sizes."""

    role: str
    broker_url: str
    state_dir: str
    agents: tuple[AgentConfig, ...]
    threads: int = 4
    heartbeat_seconds: float = 10.0
    inventory_seconds: float = 30.0


def read(path: Path) -> AgentConfig | SimulatorConfig:
    """:raises msgspec.ValidationError: the file is not such a document; the message names the field."""
    raw = msgspec.json.decode(path.read_bytes())
    if raw.get("role") == "simulator":
        return msgspec.convert(raw, SimulatorConfig)
    return msgspec.convert(raw, AgentConfig)
