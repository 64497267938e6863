"""The tiny guest, booted for real: what it takes from the cloud, how it starts, grows, and goes down."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcloud.guest.build import build
from devcloud.guest.lab import ADDRESS, MTU, Guest, Lab
from devcloud.guest.parts import BuildError, copy_overlay, run

TOOLS = ("qemu-system-x86_64", "qemu-img", "syslinux", "mcopy", "busybox", "dropbear", "dnsmasq", "ssh")
MISSING = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or bool(MISSING), reason=f"needs root and {MISSING or 'nothing'}")
WORK = Path.home() / ".cache/pileus/guest"
PASSWORD = r"pa$$ w\ord"
USER_DATA = "#!/bin/sh\necho ran >>/root/user-data-runs\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("image") / "guest.qcow2", WORK)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    with Lab(f"ptg{os.getpid()}", tmp_path) as lab:
        yield lab


def copy_of(image: Path, folder: Path, size: str = "") -> Path:
    disk = folder / "disk.qcow2"
    shutil.copy(image, disk)
    if size:
        run("qemu-img", "resize", "-f", "qcow2", disk, size)
    return disk


def soon(check: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def publish(lab: Lab, instance_id: str, name: str) -> None:
    lab.publish("meta-data/instance-id", instance_id)
    lab.publish("meta-data/local-hostname", name)
    lab.publish("meta-data/public-keys", (lab.folder / "key.pub").read_text())
    lab.publish("user-data", USER_DATA)


def answer(lab: Lab, command: str) -> str:
    return lab.ssh(lab.folder / "key", command).stdout.strip()


def login_by_password(lab: Lab, password: str) -> bool:
    ask = lab.folder / "askpass"
    ask.write_text("#!/bin/sh\nprintf '%s\\n' \"$GIVEN\"\n")
    ask.chmod(0o700)
    options = ("PubkeyAuthentication=no", "NumberOfPasswordPrompts=1", "StrictHostKeyChecking=no")
    words = [word for option in (*options, "UserKnownHostsFile=/dev/null") for word in ("-o", option)]
    given = ("env", f"GIVEN={password}", f"SSH_ASKPASS={ask}", "SSH_ASKPASS_REQUIRE=force")
    return "uid=0" in lab.run(*given, "ssh", *words, f"root@{ADDRESS}", "id").stdout


def plug_disk(guest: Guest, bus: dict[str, object]) -> None:
    run("qemu-img", "create", "-q", "-f", "raw", guest.disk.with_name("data.raw"), "16M")
    file = {"driver": "file", "filename": str(guest.disk.with_name("data.raw"))}
    guest.qmp(
        ("blockdev-add", {"node-name": "data", "driver": "raw", "file": file}),
        ("device_add", {"driver": "virtio-blk-pci", "id": "data", "drive": "data", **bus}),
    )


def test_a_second_build_keeps_the_image(image: Path) -> None:
    before = image.stat()
    assert build(image, WORK).stat().st_ino == before.st_ino
    image.with_name(image.name + ".inputs").write_text("of another build")
    assert build(image, WORK).stat().st_ino != before.st_ino


def test_a_failed_tool_is_told_with_what_it_said() -> None:
    with pytest.raises(BuildError, match="no-such-tool is not installed"):
        run("no-such-tool")
    with pytest.raises(BuildError, match="/nowhere"):
        run("ls", "/nowhere")


def test_scripts_can_be_run_whatever_mode_they_were_installed_with(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from/script").write_text("#!/bin/sh\n")
    (tmp_path / "from/table").write_text("data\n")
    copy_overlay(tmp_path / "from", tmp_path / "to")
    assert os.access(tmp_path / "to/script", os.X_OK)
    assert (tmp_path / "to/table").stat().st_mode & 0o111 == 0


def test_takes_all_from_the_cloud_and_keeps_its_identity_over_reboots(image: Path, lab: Lab, tmp_path: Path) -> None:
    publish(lab, "i-one", "vm-one")
    (tmp_path / "password").write_text(PASSWORD)
    disk = copy_of(image, tmp_path, "512M")
    with Guest(lab, disk, "pc") as guest:
        guest.wait_for("pileus: ready")
        check_console(guest)
        check_network(lab)
        check_access(lab)
        check_disks(lab, guest)
        host_key = answer(lab, "md5sum </etc/dropbear/ed25519")
        lab.ssh(tmp_path / "key", "reboot")
        guest.wait_for("pileus: ready", count=2)
        assert "pileus: boot 2 " in guest.log
        assert answer(lab, "cat /root/user-data-runs") == "ran"
        assert answer(lab, "md5sum </etc/dropbear/ed25519") == host_key
        check_shutdown(guest)
    check_copy_of_disk(lab, disk, host_key)


def check_console(guest: Guest) -> None:
    lines = ("dhcp request", f"address {ADDRESS}", "hostname vm-one", "ssh key installed", "password set")
    places = [guest.log.find(f"pileus: {line}") for line in (*lines, "user-data exit 0", "metadata ok", "ready")]
    assert -1 not in places
    assert places == sorted(places)
    assert soon(lambda: "vm-one login:" in guest.log)


def check_network(lab: Lab) -> None:
    assert answer(lab, "cat /sys/class/net/eth0/mtu") == str(MTU)
    routes = answer(lab, "ip route")
    assert "default via 10.1.1.1 dev eth0" in routes
    assert "192.168.99.0/24 via 10.1.1.254 dev eth0" in routes
    assert answer(lab, "cat /etc/resolv.conf").splitlines() == ["search cloud.test", "nameserver 10.1.1.1"]
    assert "192.0.2.7" in answer(lab, "nslookup answer.test")
    assert answer(lab, "hostname") == "vm-one"
    page = lab.run("curl", "-s", f"http://{ADDRESS}/").stdout
    assert "hostname: vm-one" in page
    assert "instance-id: i-one" in page


def check_access(lab: Lab) -> None:
    assert not (lab.folder / "password").exists(), "the guest did not say that it saved the password"
    assert login_by_password(lab, PASSWORD)
    assert not login_by_password(lab, "password")


def check_disks(lab: Lab, guest: Guest) -> None:
    assert soon(lambda: "pileus: root 487 MiB" in guest.log)
    assert int(answer(lab, "df -m / | awk 'NR == 2 { print $2 }'")) > 400
    plug_disk(guest, {})
    assert soon(lambda: answer(lab, "cat /sys/block/vdb/size") == str(16 << 11))
    assert answer(lab, "dd if=/dev/zero of=/dev/vdb bs=1M count=16 2>/dev/null && sync && echo written") == "written"


def check_shutdown(guest: Guest) -> None:
    guest.qmp(("system_powerdown", {}))
    assert guest.ended(8)
    assert "pileus: shutdown" in guest.log


def check_copy_of_disk(lab: Lab, disk: Path, host_key: str) -> None:
    """On the other machine type, as another instance: what was the first one's must not come along."""
    publish(lab, "i-two", "vm-two")
    with Guest(lab, disk, "q35") as guest:
        guest.wait_for("pileus: ready")
        assert answer(lab, "wc -l </root/user-data-runs") == "2"
        assert answer(lab, "md5sum </etc/dropbear/ed25519") not in ("", host_key)
        plug_disk(guest, {"bus": "spare"})
        assert soon(lambda: answer(lab, "cat /sys/block/vdb/size") == str(16 << 11))
        check_shutdown(guest)


def test_without_the_cloud_nobody_gets_in_and_a_late_metadata_server_is_found(
    image: Path, lab: Lab, tmp_path: Path
) -> None:
    metadata = lab.servers.pop()
    metadata.terminate()
    metadata.wait()
    with Guest(lab, copy_of(image, tmp_path)) as guest:
        guest.wait_for("pileus: ready")
        assert "pileus: metadata none" in guest.log
        assert "pileus: root" not in guest.log
        assert not any(login_by_password(lab, password) for password in ("", "*", "password"))
        publish(lab, "i-one", "vm-one")
        lab.servers.append(lab.serve())
        guest.wait_for("pileus: metadata ok")
        assert answer(lab, "hostname") == "vm-one"


def test_shell_scripts_of_the_guest_parse(image: Path) -> None:
    folder = Path(build.__code__.co_filename).parent
    scripts = [p for p in folder.rglob("*") if p.is_file() and p.read_bytes().startswith(b"#!/bin/sh")]
    assert len(scripts) > 8
    for script in scripts:
        subprocess.run(("busybox", "sh", "-n", script), check=True)
