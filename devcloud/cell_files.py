"""What makes a cell a host of its own: private directories, settings of its servers, and the processes it runs."""

from __future__ import annotations

import uuid
from pathlib import Path

from devcloud.cell_init import Boot
from devcloud.processes import output
from devcloud.supervisor import Process, write_atomically

PUBLIC_BRIDGE = "br-public"
UNDERLAY_DEVICE = "eth0"
SWITCH_RUN = "/run/openvswitch"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PRIVATE = (
    "/etc/libvirt",
    "/etc/openvswitch",
    "/var/cache/libvirt",
    "/var/lib/libvirt",
    "/var/lib/openvswitch",
    "/var/log/libvirt",
    "/var/log/openvswitch",
)
ACCOUNTS = ("/etc/passwd", "/etc/group")
QEMU_USER = "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin"
QEMU_GROUP = "libvirt-qemu:x:64055:"
QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
log_level = 3
log_outputs = "3:stderr"
"""
SYSCTLS = {
    "net.ipv4.conf.all.arp_ignore": "1",
    "net.ipv4.conf.default.arp_ignore": "1",
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
}


def host_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.devcloud"))


def prepare(directory: Path, name: str) -> None:
    """Make the cell's files; those that are there are left alone, but settings are written anew."""
    for path in PRIVATE:
        (directory / path[1:]).mkdir(parents=True, exist_ok=True)
    for folder in ("log", "agent", "primary"):
        (directory / folder).mkdir(exist_ok=True)
    _add_account(directory)
    settings = directory / "etc/libvirt"
    write_atomically(settings / "qemu.conf", QEMU_CONF)
    write_atomically(settings / "libvirtd.conf", LIBVIRTD_CONF.format(host_uuid=host_uuid(name)))
    database = directory / "etc/openvswitch/conf.db"
    if not database.exists():
        fresh = database.with_name("conf.db.fresh")
        fresh.unlink(missing_ok=True)
        output(["ovsdb-tool", "create", str(fresh), SCHEMA])
        row = '["Open_vSwitch",{"op":"insert","table":"Open_vSwitch","row":{}}]'
        output(["ovsdb-tool", "transact", str(fresh), row])
        fresh.rename(database)


def _add_account(directory: Path) -> None:
    """Give the host the account that Debian's libvirtd looks up at its start, whatever qemu.conf says."""
    for path, line in zip(ACCOUNTS, (QEMU_USER, QEMU_GROUP), strict=True):
        lines = Path(path).read_text().splitlines()
        if not any(one.startswith("libvirt-qemu:") for one in lines):
            lines.append(line)
        write_atomically(directory / path[1:], "\n".join(lines) + "\n")


def boot(directory: Path, name: str, links: list[list[str]]) -> Boot:
    return Boot(
        hostname=name,
        links=links,
        binds={path: str(directory / path[1:]) for path in (*PRIVATE, *ACCOUNTS)},
        folders=[SWITCH_RUN, "/run/libvirt", "/run/lock", "/run/netns", "/run/pileus"],
        sysctls=SYSCTLS,
        commands=[
            ["ip", "link", "set", "lo", "up"],
            f"ip link add {PUBLIC_BRIDGE} type bridge forward_delay 0".split(),
            f"ip link set eth1 master {PUBLIC_BRIDGE}".split(),
            f"ip link set {PUBLIC_BRIDGE} up".split(),
        ],
    )


def processes() -> list[Process]:
    """The servers of every host; they log to their standard error."""
    quiet = ["--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"]
    remote = f"punix:{SWITCH_RUN}/db.sock"
    return [
        Process("ovsdb-server", ["ovsdb-server", "/etc/openvswitch/conf.db", f"--remote={remote}", *quiet]),
        Process("ovs-vswitchd", ["ovs-vswitchd", f"unix:{SWITCH_RUN}/db.sock", *quiet], needs=f"{SWITCH_RUN}/db.sock"),
        Process("libvirtd", ["libvirtd"]),
    ]
