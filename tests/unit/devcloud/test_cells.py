"""Two real emulated hosts: their servers, wires, guests, power failures, and that nothing of them stays behind."""

import os
import shutil
import signal
import socket
import struct
import tempfile
import time
from pathlib import Path

import pytest

from devcloud import outside, underlay
from devcloud.cells import Cell, end_strays
from devcloud.paths import Site
from devcloud.processes import CommandError, ProcessGroup, output, wait_until
from devcloud.supervisor import start_time

pytestmark = [
    pytest.mark.devcloud,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

# Writes P to the first serial port (I/O port 0x3f8) and halts for ever.
BOOT_SECTOR = bytes.fromhex("baf803 b050 ee f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
DOMAIN = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='{serial}'/></serial>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def site():
    made = Site(Path(tempfile.mkdtemp(prefix="plt-", dir="/var/lib")), f"plt{os.getpid()}")
    yield made
    end_strays(made)
    underlay.remove(made)
    shutil.rmtree(made.state, ignore_errors=True)


@pytest.fixture(scope="module")
def cells(site):
    underlay.ensure(site)
    made = [Cell(site, f"host{index}", index) for index in (1, 2)]
    for cell in made:
        cell.up()
    yield made
    for cell in made:
        cell.remove()


@pytest.fixture
def running(cells):
    """Both hosts, up again after whatever a test did to them."""
    for cell in cells:
        cell.up()
    return cells


def start_guest(cell, name):
    """Boot a guest in `cell`; gives the file of its serial port."""
    disk, serial, domain = (cell.directory / "primary" / f"{name}.{kind}" for kind in ("raw", "serial", "xml"))
    disk.write_bytes(BOOT_SECTOR.ljust(1 << 20, b"\0"))
    domain.write_text(DOMAIN.format(name=name, disk=disk, serial=serial))
    cell.exec(["virsh", "create", str(domain)])
    wait_until(lambda: serial.exists() and b"P" in serial.read_bytes(), "the guest", 30)
    return serial


def domains(cell):
    return cell.exec(["virsh", "list", "--all", "--name"]).split()


def processes_of(site):
    """Pids of all processes that name the site in their arguments or environment."""
    needle = f"{site.state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and any(needle in (entry / part).read_bytes() for part in ("cmdline", "environ")):
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if start_time(pid) and pid != os.getpid()]


def test_each_host_is_a_host_of_its_own(running):
    names = [cell.exec(["hostname"]).strip() for cell in running]
    assert names == ["host1", "host2"]
    uuids = {cell.exec(["virsh", "capabilities"]).partition("<uuid>")[2][:36] for cell in running}
    assert len(uuids) == 2
    running[0].exec(["ovs-vsctl", "--timeout=5", "--may-exist", "add-br", "br-own"])
    assert "br-own" not in running[1].exec(["ovs-vsctl", "list-br"])
    running[0].exec(["ovs-vsctl", "--timeout=5", "del-br", "br-own"])
    for cell in running:
        assert "devcloud.cell_init" in cell.exec(["cat", "/proc/1/cmdline"])
        assert cell.is_up()


def test_up_again_changes_nothing(running):
    before = [(cell.pid, cell.states()) for cell in running]
    underlay.ensure(running[0].site)
    for cell in running:
        cell.up()
    time.sleep(0.3)
    assert [(cell.pid, cell.states()) for cell in running] == before


def connect_switch(cell):
    """Put the host's underlay address on its switch, as an agent does."""
    cell.exec(["ovs-vsctl", "--may-exist", "add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev"])
    cell.exec(["ovs-vsctl", "--may-exist", "add-port", "br-phy", "eth0"])
    wait_until(lambda: "br-phy" in cell.exec(["ip", "-br", "link"]), "br-phy", 10)
    cell.exec(f"ip address replace {cell.address}/24 dev br-phy".split())
    cell.exec(["ip", "link", "set", "br-phy", "mtu", str(underlay.MTU), "up"])


def test_switches_of_two_hosts_reach_each_other_with_full_frames(running):
    first, second = running
    for cell in running:
        connect_switch(cell)
    answer = first.exec(["ping", "-c", "2", "-W", "5", "-M", "do", "-s", "1500", second.address])
    assert " 0% packet loss" in answer
    with pytest.raises(CommandError):
        output(["ping", "-c", "1", "-W", "1", second.address])


def ask_name(site, name):
    """Address that the name server of the outside gives for `name`."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    packet = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question + struct.pack("!2H", 1, 1)
    code = (
        "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5);"
        f"s.sendto(bytes.fromhex('{packet.hex()}'),('{underlay.PUBLIC_GATEWAY}',53)); print(s.recv(512).hex())"
    )
    answer = bytes.fromhex(output(underlay.enter(site.outside, ["python3", "-c", code])).strip())
    return socket.inet_ntoa(answer[-4:])


def test_public_network_leads_to_the_internet(running):
    first = running[0]
    group = ProcessGroup(first.site.state / "management")
    group.apply(outside.processes(first.site))
    try:
        first.exec(["ip", "address", "replace", "198.51.100.9/24", "dev", "br-public"])
        first.exec(f"ip route replace default via {underlay.PUBLIC_GATEWAY}".split())
        code = f"import urllib.request as u; print(u.urlopen('http://{underlay.INTERNET_HOST}/', timeout=5).read())"

        def answered():
            try:
                return "198.51.100.9" in first.exec(["python3", "-c", code])
            except CommandError:
                return False

        wait_until(answered, "the web server of the outside", 15)
        assert ask_name(first.site, underlay.INTERNET_NAME) == underlay.INTERNET_HOST
    finally:
        first.exec(["ip", "address", "flush", "dev", "br-public"])
        group.stop()


def test_guest_boots_and_dies_in_a_power_failure_that_up_repairs(running):
    first, second = running
    start_guest(first, "doomed")
    start_guest(second, "spared")
    old = first.pid
    first.kill()
    assert not first.is_up()
    assert not start_time(old)
    wait_until(lambda: not processes_of_guest("doomed"), "the end of the guest", 5)
    assert processes_of_guest("spared")
    first.up()
    assert first.pid != old
    assert domains(first) == []
    assert domains(second) == ["spared"]
    second.exec(["virsh", "destroy", "spared"])


def processes_of_guest(name):
    needle = f"guest={name},".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and needle in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ["libvirtd", "ovs-vswitchd", "ovsdb-server"])
def test_killed_server_comes_back_and_the_guest_lives(running, name):
    first = running[0]
    start_guest(first, "steady")
    inner = next(one.pid for one in first.states() if one.name == name)
    first.exec(["kill", "-KILL", str(inner)])
    wait_until(lambda: all(one.pid not in {0, inner} for one in first.states() if one.name == name), name, 15)
    wait_until(first.is_up, "the host", 15)
    wait_until(lambda: domains(first) == ["steady"], "the guest in libvirt", 15)
    first.exec(["ovs-vsctl", "--timeout=10", "--may-exist", "add-br", "br-new"])
    first.exec(["ovs-vsctl", "--timeout=10", "del-br", "br-new"])
    first.exec(["virsh", "destroy", "steady"])


def test_host_reaps_the_orphans_that_it_inherits(running):
    first = running[0]
    first.exec(["sh", "-c", "(sleep 0.1 &) ; exit 0"])
    time.sleep(0.5)
    assert " Z" not in first.exec(["ps", "-eo", "pid,stat"])


def test_lost_wires_are_laid_again_under_a_running_host(running):
    site, first = running[0].site, running[0]
    old = first.pid
    underlay.remove(site)
    wait_until(lambda: "eth0" not in first.exec(["ip", "-br", "link"]), "the loss of the wires", 10)
    underlay.ensure(site)
    for cell in running:
        cell.up()
    assert first.pid == old
    assert "master br-public" in first.exec(["ip", "link", "show", "eth1"])
    ports = output(["ip", "-n", site.underlay, "-br", "link"])
    assert all(underlay.switch_port(cell.name, number) in ports for cell in running for number in (0, 1))


def test_hang_is_not_death(running):
    first = running[0]
    os.kill(first.pid, signal.SIGSTOP)
    assert first.pid
    os.kill(first.pid, signal.SIGCONT)
    assert first.is_up()


def test_nothing_stays_behind(site, running):
    start_guest(running[0], "last")
    (running[1].directory / "pid").unlink()
    for cell in running:
        cell.remove()
    end_strays(site)
    underlay.remove(site)
    wait_until(lambda: processes_of(site) == [], "the end of all processes", 10)
    namespaces = output(["ip", "netns", "list"])
    assert site.prefix not in namespaces
    assert namespaces or "/run/netns" not in Path("/proc/mounts").read_text()
    assert str(site.state) not in Path("/proc/mounts").read_text()
    assert not list(site.state.glob("host*"))
    assert not processes_of_guest("last")
    links = output(["ip", "-br", "link"])
    assert "pl-host" not in links
