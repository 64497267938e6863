"""Open vSwitch on one host: the only module that talks to OVSDB and OpenFlow.

OVSDB is changed by single batched calls of ovs-vsctl: 8 ms each, one transaction, a time limit, and no connection,
thread or cache that a fork of the agent would share. OpenFlow is changed by bundles of ovs-ofctl, which are atomic.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from network import host_stack, links, tunnels
from network.cables import Cable, Cables, is_cabled
from network.errors import CommandFailedError, CommandTimeoutError, SwitchRefusedError, SwitchUnreachableError
from network.flows import FlowSet, LocalNumbers, desired, diff, here, meter_id
from network.flows import replace as replace_all
from network.names import TAP_PREFIX, tap_name
from network.ovsdb import rows
from network.process import run
from network.rule_counters import RULE_FLOWS, hits
from network.switch_record import DEFAULT_MTU, Record, RecordStore
from network.trunks import Trunks, announcements
from network.tunnels import Tunnel
from network.types import NetworkView

PHYSICAL_BRIDGE = "br-phy"
PROTOCOLS = "OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15"
DATABASE_TIMEOUT = 15
SILENT = re.compile(
    r"database connection failed|is not a bridge or a socket|failed to connect|Connection refused|No such file"
    r"|Broken pipe|Connection reset|Alarm clock|exit status -14|end of file"
)
NIC_ID, IFINDEX = "pileus-nic", "pileus-ifindex"


@dataclass(frozen=True)
class SwitchSettings:
    """`rundir` holds db.sock, the sockets of the bridges and of vswitchd; `state_dir` is the caller's own.

    With the datapath "netdev", `underlay_device` becomes a port of br-phy and its addresses go to br-phy; if it has
    none, br-phy gets `underlay_address` with `underlay_prefix_length`. "system" leaves the underlay to the kernel.
    """

    rundir: Path
    host_id: str
    underlay_address: str
    underlay_device: str
    state_dir: Path
    integration_bridge: str = "br-int"
    datapath_type: Literal["netdev", "system"] = "netdev"
    underlay_prefix_length: int = 24


@dataclass(frozen=True, slots=True)
class Port:
    """A NIC's port as the switch shows it; `ofport` is 0 while the device is missing.

    `ifindex` is that of the device when it was plugged. The database's own column follows the name, and so shows a
    device that was made anew while the datapath still holds the old one.
    """

    name: str
    ofport: int
    ifindex: int


class Switch:
    """The host's part of all overlays. Every method may be called again and from any thread or process.

    :raises SwitchUnreachableError: Open vSwitch is down or restarting
    :raises SwitchRefusedError: it refused a change, of which nothing was applied
    """

    def __init__(self, settings: SwitchSettings) -> None:
        self.settings = settings
        self._store = RecordStore(settings.state_dir)
        own = settings.integration_bridge, settings.datapath_type, settings.underlay_device
        self.cables = Cables(self._vsctl, *own)
        self.trunks = Trunks(self._vsctl, settings.integration_bridge)

    def ensure_bridges(self) -> None:
        """Bridges, underlay and host rules, as after a restart of the host; guests' traffic is not disturbed."""
        own = self.settings
        kind = f"datapath_type={own.datapath_type}"
        commands = [
            *("--may-exist", "add-br", own.integration_bridge, "--"),
            *("set", "bridge", own.integration_bridge, kind, "fail_mode=secure", f"protocols={PROTOCOLS}"),
        ]
        userspace = own.datapath_type == "netdev"
        if userspace:
            commands += [
                *("--", "--may-exist", "add-br", PHYSICAL_BRIDGE, "--"),
                *("set", "bridge", PHYSICAL_BRIDGE, kind, "fail_mode=standalone", "--"),
                *("--may-exist", "add-port", PHYSICAL_BRIDGE, own.underlay_device),
            ]
        with self._store.locked():
            self._vsctl(*commands)
            # Taking controllers away flushes all flows, so only when there is one.
            if self._vsctl("get-controller", own.integration_bridge).strip():
                self._vsctl("del-controller", own.integration_bridge)
            if userspace:
                self._ensure_underlay()
            # Last: before its addresses have moved, the host is reached through the underlay device itself.
            self._guard()

    def apply(self, views: Sequence[NetworkView], *, whole: bool = False) -> None:
        """Make tunnels and flows those of `views`, which are all networks of the host; others are taken off.

        Sends the difference to what was applied last; everything when vswitchd has restarted, on first contact, and
        when `whole` asks for it because the switch was found to differ.
        """
        host_id = self.settings.host_id
        held = here(host_id, views)
        with self._store.locked() as record:
            numbers = record.number(host_id, held)
            wanted = desired(host_id, held, numbers)
            ways = tunnels.wanted_by(held, numbers.tunnels, self.settings.underlay_address)
            self._add_tunnels(ways)
            self.trunks.ensure(numbers.tunnels)
            if self._install(wanted, whole=whole):
                self._greet(ways.values())
            self._remove_tunnels(ways)
            self.trunks.remove_all_but(numbers.tunnels)
            before = record.mtus
            packets, now = announcements(host_id, held, numbers.tunnels, record.segments)
            for packet in packets:
                self._ofctl("packet-out", packet)
            record.segments = now
            record.mtus = {nic.id: view.mtu for view in held for nic in view.nics if nic.host_id == host_id}
            links.resize_taps(before, record.mtus)
            record.peers.give_back_all_but(numbers.tunnels)
            for kind in ("networks", "classes"):
                getattr(record, kind).give_back_all_but(getattr(numbers, kind))
            self._give_back_nics(record)

    def plug(self, nic_id: str, mac: str) -> bool:
        """Make the NIC's persistent tap and its port; False if it was plugged already."""
        with self._store.locked() as record:
            name = tap_name(nic_id)
            if name not in links.links():
                links.change(links.tap_lines(name, record.mtus.get(nic_id, DEFAULT_MTU)))
            return self._add_port(record, nic_id, name, mac)

    def plug_device(self, nic_id: str, device: str) -> bool:
        """Make `device`, which must be there, the NIC's port; False if it was plugged already."""
        with self._store.locked() as record:
            return self._add_port(record, nic_id, device, "")

    def check_cable(self, device: str) -> None:
        """:raises SwitchRefusedError: no hardware device can be cabled to that interface of the host"""
        self.cables.check(device)

    def cable_difference(self, nic_id: str, cable: Cable) -> str:
        return self.cables.difference(nic_id, cable)

    def plug_cable(self, nic_id: str, cable: Cable) -> bool:
        """Make a VLAN of a cable to a hardware device the NIC's port; False if it was plugged already."""
        with self._store.locked() as record:
            ids = [f"external_ids:iface-id={nic_id}", f"external_ids:{NIC_ID}={nic_id}"]
            is_new = self.cables.plug(nic_id, ids, record.nic(nic_id).ofport, cable)
            if is_new:
                self._guard()
            return is_new

    def unplug(self, nic_id: str) -> None:
        """Remove the NIC's port and, if it is ours, its tap; end its connections. One that is gone is no error."""
        with self._store.locked() as record:
            name = self.ports().get(nic_id, Port(tap_name(nic_id), 0, 0)).name
            if is_cabled(name):
                self.cables.unplug(nic_id)
            else:
                self._vsctl("--if-exists", "del-port", self.settings.integration_bridge, name)
            if name.startswith(TAP_PREFIX):
                links.remove(name)
            if nic_id in record.nics.given:
                self._flush_connections(record.nic(nic_id).zone)
            self._give_back_nics(record)

    def plug_tagged(self, device: str, bridge: str, vlan: int) -> None:
        """Make `device`, which must be there, an access port of an underlay bridge in the VLAN.

        As for other ports, one whose device was made anew is dead, and such a device is down.
        """
        with self._store.locked():
            if not links.links()[device].up:
                self._vsctl("--if-exists", "del-port", device)
            add = ("--may-exist", "add-port", bridge, device, "--", "set", "port", device, f"tag={vlan}")
            self._vsctl(*add)
            links.change([f"link set dev {device} up"])

    def unplug_tagged(self, device: str) -> None:
        """Remove such a port; one that is gone is no error."""
        self._vsctl("--if-exists", "del-port", device)

    def ports(self) -> dict[str, Port]:
        """The ports that Pileus made, by NIC id."""
        found = {}
        for row in self._interfaces():
            ids = row["external_ids"]
            if NIC_ID in ids:
                found[ids[NIC_ID]] = Port(row["name"], max(row["ofport"] or 0, 0), int(ids.get(IFINDEX, 0)))
        return found

    def drift(self, views: Sequence[NetworkView]) -> list[str]:
        """How the switch differs from `views`: '-' and a flow or group that is missing, '+' and one too many."""
        with self._store.locked() as record:
            held = here(self.settings.host_id, views)
            wanted = desired(self.settings.host_id, held, record.number(self.settings.host_id, held))
            with tempfile.NamedTemporaryFile("w", suffix=".flows") as file:
                file.write("\n".join(wanted.flows))
                file.flush()
                found = self._diff_flows(file.name)
            groups, wanted_groups = set(self._groups()), set(wanted.groups)
        lines = [line.strip() for line in found.splitlines() if line[:1] in "+-"]
        return [
            *lines,
            *(f"-{g}" for g in sorted(wanted_groups - groups)),
            *(f"+{g}" for g in sorted(groups - wanted_groups)),
        ]

    def rule_hits(self, rule_ids: Sequence[str]) -> dict[str, int]:
        return hits(self._ofctl("dump-flows", RULE_FLOWS), rule_ids) if rule_ids else {}

    def sets(self, views: Sequence[NetworkView]) -> tuple[FlowSet, FlowSet, LocalNumbers]:
        """What the switch should hold of `views`, what it holds, and the numbers of this host."""
        held = here(self.settings.host_id, views)
        with self._store.locked() as record:
            numbers = record.number(self.settings.host_id, held)
            lines = self._ofctl("dump-flows", options=("--no-stats", "--no-names")).splitlines()
            found = FlowSet(tuple(line.strip() for line in lines if "actions=" in line), tuple(self._groups()))
        return desired(self.settings.host_id, held, numbers), found, numbers

    def versions(self) -> dict[str, str]:
        """Of the tools on the host and, once vswitchd has reported it, of the datapath."""
        tool = run(["ovs-vswitchd", "--version"]).splitlines()[0].rsplit(" ", 1)[-1]
        running = self._vsctl("--if-exists", "get", "Open_vSwitch", ".", "ovs_version").strip().strip('"[]')
        return {"openvswitch": running or tool, "datapath": self.settings.datapath_type}

    def _guard(self) -> None:
        own = self.settings
        host_stack.guard((own.underlay_device, *self.cables.devices()) if own.datapath_type == "netdev" else ())

    def _ensure_underlay(self) -> None:
        own = self.settings
        links.without_checksum_offload(own.underlay_device)
        links.change([f"link set dev {own.underlay_device} up", f"link set dev {PHYSICAL_BRIDGE} up"])
        links.move_addresses(own.underlay_device, PHYSICAL_BRIDGE)
        held = [address.partition("/")[0] for address in links.links()[PHYSICAL_BRIDGE].addresses]
        if own.underlay_address not in held:
            address = f"{own.underlay_address}/{own.underlay_prefix_length}"
            links.change([f"address add {address} dev {PHYSICAL_BRIDGE}"])

    def _add_port(self, record: Record, nic_id: str, device: str, mac: str) -> bool:
        """Put `device` on the switch under the NIC's number. A port whose device was made anew is dead: remove it.

        A device that is down was made anew, even under the index that it had before a restart of the host. It comes up
        last: vswitchd takes up a device whose port is still in the database while it is being made, and reads and
        writes its flags then, so that an "up" of that moment may be lost.
        """
        bridge = self.settings.integration_bridge
        link, port = links.links().get(device), self.ports().get(nic_id)
        ofport = record.nic(nic_id).ofport
        if link is None:
            raise SwitchRefusedError(f"Device {device} of NIC {nic_id} does not exist.")
        if link.up and port == Port(device, ofport, link.ifindex):
            return False
        for name in {device, port.name if port else device}:
            self._vsctl("--if-exists", "del-port", bridge, name)
        ids = [f"external_ids:iface-id={nic_id}", f"external_ids:{NIC_ID}={nic_id}"]
        ids.append(f"external_ids:{IFINDEX}={link.ifindex}")
        if mac:
            ids.append(f'external_ids:attached-mac="{mac}"')
        self._vsctl("add-port", bridge, device, "--", "set", "interface", device, f"ofport_request={ofport}", *ids)
        found = self.ports().get(nic_id)
        if found is None or found.ofport != ofport:
            raise SwitchRefusedError(f"Device {device} of NIC {nic_id} did not get port number {ofport}: {found}.")
        links.change([f"link set dev {device} up"])
        return True

    def _give_back_nics(self, record: Record) -> None:
        """A number is given back when neither a view nor a port uses it, after its connections are forgotten."""
        in_use = {*record.mtus, *self.ports()}
        for nic_id in set(record.nics.given) - in_use:
            self._flush_connections(record.nic(nic_id).zone)
        record.nics.give_back_all_but(in_use)

    def _add_tunnels(self, wanted: dict[str, Tunnel]) -> None:
        there = self._tunnels()
        fresh = {host: tunnel for host, tunnel in wanted.items() if there.get(host) != tunnel}
        # A number or an address may move from one tunnel to another: old ones leave first.
        self._remove_ports(tunnels.in_the_way(there, fresh, wanted))
        if fresh:
            bridge = self.settings.integration_bridge
            self._vsctl(*tunnels.joined([tunnels.to_add(bridge, host, tunnel) for host, tunnel in fresh.items()]))
            self._forget_cached()
            self._greet(fresh.values())

    def _remove_tunnels(self, wanted: dict[str, Tunnel]) -> None:
        self._remove_ports([tunnel.name for host, tunnel in self._tunnels().items() if host not in wanted])

    def _remove_ports(self, names: Sequence[str]) -> None:
        bridge = self.settings.integration_bridge
        if names:
            self._vsctl(*tunnels.joined([["--if-exists", "del-port", bridge, name] for name in names]))

    def _tunnels(self) -> dict[str, Tunnel]:
        return tunnels.among(self._interfaces())

    def _forget_cached(self) -> None:
        """Empty the userspace datapath's cache of flows; the next packet of each is looked up anew.

        What arrived for a tunnel that had been taken away is cached as the host's own, and Open vSwitch 3.1 does not
        always look at it again when the tunnel is back: as long as packets come, they are lost.
        """
        if self.settings.datapath_type == "netdev":
            own = self.settings.rundir
            try:
                pid = (own / "ovs-vswitchd.pid").read_text().strip()
            except FileNotFoundError as error:
                raise SwitchUnreachableError(f"Open vSwitch does not run: {error}") from error
            self._guarded(["ovs-appctl", "-t", f"{own}/ovs-vswitchd.{pid}.ctl", "revalidator/purge"])

    def _greet(self, peers: Iterable[Tunnel]) -> None:
        if self.settings.datapath_type == "netdev":
            tunnels.greet((tunnel.remote_address for tunnel in peers), PHYSICAL_BRIDGE)

    def _install(self, wanted: FlowSet, *, whole: bool) -> bool:
        """True if the switch had to be given everything."""
        applied = self._store.applied()
        whole = whole or not applied.flows or not self._holds(applied)
        if whole:
            bundles = replace_all(wanted, [int(line.partition(",")[0][9:]) for line in self._groups()])
        else:
            bundles = diff(applied, wanted)
        known = self._set_meters(wanted, () if whole else applied.meters) if wanted.meters or applied.meters else []
        for lines in (bundles.change, bundles.stale):
            if lines:
                self._ofctl("bundle", "-", stdin="\n".join(lines) + "\n")
        for number in sorted(set(known) - set(map(meter_id, wanted.meters))):
            self._ofctl("del-meter", f"meter={number}")
        if applied != wanted:
            self._store.remember(wanted)
        return whole

    def _set_meters(self, wanted: FlowSet, applied: Sequence[str]) -> list[int]:
        """Make the meters that flows will name, and give the numbers of all that were there.

        Bundles hold no meters, and a flow of an unknown one is refused. Nothing is looked at when nothing changes.
        """
        if applied == wanted.meters:
            return []
        known = self._meters()
        for line in wanted.meters:
            number = meter_id(line)
            if line not in applied or number not in known:
                self._ofctl("mod-meter" if number in known else "add-meter", line)
        return known

    def _meters(self) -> list[int]:
        return [int(number) for number in re.findall(r"meter=(\d+)", self._ofctl("dump-meters"))]

    def _holds(self, applied: FlowSet) -> bool:
        cookie = applied.canary.partition(",")[0].removeprefix("cookie=")
        return f"cookie={cookie}," in self._ofctl("dump-flows", "table=63", options=("--no-stats",))

    def _groups(self) -> list[str]:
        """The groups on the switch, written as `desired` writes them."""
        lines = self._ofctl("dump-groups").splitlines()
        return [re.sub(r"bucket_id:\d+,", "", line.strip()) for line in lines if "group_id=" in line]

    def _diff_flows(self, path: str) -> str:
        """ovs-ofctl exits with 2 when there is a difference."""
        target = f"unix:{self.settings.rundir}/{self.settings.integration_bridge}.mgmt"
        return self._guarded(["ovs-ofctl", "-O", "OpenFlow15", "diff-flows", path, target], ok=(0, 2))

    def _flush_connections(self, zone: int) -> None:
        self._ofctl("ct-flush", f"zone={zone}")

    def _interfaces(self) -> list[dict[str, Any]]:
        columns = "name,type,ofport,external_ids,options"
        return rows(self._vsctl("--format=json", f"--columns={columns}", "list", "Interface"))

    def _vsctl(self, *arguments: str) -> str:
        database = f"--db=unix:{self.settings.rundir}/db.sock"
        return self._guarded(["ovs-vsctl", "--no-syslog", database, f"--timeout={DATABASE_TIMEOUT}", *arguments])

    def _ofctl(self, action: str, *arguments: str, stdin: str = "", options: tuple[str, ...] = ()) -> str:
        target = f"unix:{self.settings.rundir}/{self.settings.integration_bridge}.mgmt"
        return self._guarded(["ovs-ofctl", "-O", "OpenFlow15", *options, action, target, *arguments], stdin)

    def _guarded(self, arguments: list[str], stdin: str = "", ok: tuple[int, ...] = (0,)) -> str:
        try:
            return run(arguments, stdin, timeout=DATABASE_TIMEOUT * 2, ok=ok)
        except CommandTimeoutError as error:
            raise SwitchUnreachableError(f"Open vSwitch does not answer: {error}") from error
        except CommandFailedError as error:
            if SILENT.search(str(error)):
                raise SwitchUnreachableError(f"Open vSwitch does not answer: {error}") from error
            raise SwitchRefusedError(f"Open vSwitch refused a change: {error}") from error
