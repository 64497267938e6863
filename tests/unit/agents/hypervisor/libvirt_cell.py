"""Pid 1 of a private libvirtd: run it as `unshare -mnp --fork --kill-child --mount-proc python libvirt_cell.py DIR`.

It reaps what QEMU leaves, and starts libvirtd again when that dies. The socket is DIR/run/libvirt-sock.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

PLACES = {"run": "/run/libvirt", "etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "log": "/var/log/libvirt"}
LIBVIRTD = """
host_uuid = "{host_uuid}"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
"""
QEMU = """
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
stdio_handler = "file"
cgroup_controllers = []
"""


# libvirtd looks its default account up before it reads the configuration; only some of Debian's packages make it.
ACCOUNTS = {
    "/etc/passwd": "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n",
    "/etc/group": "libvirt-qemu:x:64055:\nkvm:x:64056:\n",
}


def add_accounts(directory: Path) -> None:
    """Let this mount namespace know the accounts that it has not."""
    for place, lines in ACCOUNTS.items():
        present = Path(place).read_text()
        names = {line.split(":")[0] for line in present.splitlines()}
        missing = [line for line in lines.splitlines(keepends=True) if line.split(":")[0] not in names]
        copy = directory / Path(place).name
        copy.write_text(present + "".join(missing))
        subprocess.run(["mount", "--bind", copy, place], check=True)


def main(directory: Path) -> None:
    add_accounts(directory)
    for name, place in PLACES.items():
        (directory / name).mkdir(exist_ok=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", directory / name, place], check=True)
    (directory / "etc" / "libvirtd.conf").write_text(LIBVIRTD.format(host_uuid=uuid.uuid4()))
    (directory / "etc" / "qemu.conf").write_text(QEMU)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    while True:
        daemon = start(directory)
        while os.wait()[0] != daemon:
            pass
        time.sleep(0.05)


def start(directory: Path) -> int:
    """The pid, in this namespace, of a new libvirtd."""
    pid = os.fork()
    if pid == 0:
        log = os.open(directory / "libvirtd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execvp("libvirtd", ["libvirtd", "-p", "/run/libvirt/libvirtd.pid"])  # noqa: S606 - no shell wanted
    return pid


if __name__ == "__main__":
    main(Path(sys.argv[1]))
