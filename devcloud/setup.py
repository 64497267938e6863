"""Makes a Debian machine ready for Pileus: system packages, the virtual environment, the locked Python packages.

`python3 devcloud/setup.py [--quiet]` runs before there is a virtual environment, so with the standard library only.
It asks nothing and starts no service. With --quiet a machine that was made ready for this very lock is left alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = REPOSITORY / ".venv"
STAMP = ENVIRONMENT / "setup-stamp"
LOCK = REPOSITORY / "requirements.lock"
EXTRA_LOCK = REPOSITORY / "requirements-ldap.lock"
OLDEST_PYTHON = (3, 11)
FROM_SOURCE = "libvirt-python,mysqlclient,ovs,python-ldap"  # no wheels for Linux
PACKAGES = {
    "to build Python packages": (
        "gcc libc6-dev libldap-dev libmariadb-dev libsasl2-dev libvirt-dev pkg-config python3-dev python3-venv"
    ),
    "hypervisor": "libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu libxml2-utils qemu-system-x86 qemu-utils",
    "network": (
        "conntrackd dnsmasq-base ethtool haproxy iproute2 iputils-arping iputils-ping keepalived nftables "
        "openssh-client openvswitch-switch tcpdump traceroute"
    ),
    "vpn": (
        "charon-systemd libcharon-extauth-plugins libcharon-extra-plugins libstrongswan-extra-plugins "
        "libstrongswan-standard-plugins strongswan-swanctl"
    ),
    "services": "mariadb-server postgresql redis-server",
    "guest image": "busybox-static cpio dosfstools dropbear-bin e2fsprogs fdisk mtools syslinux syslinux-common",
    "tools": "ca-certificates fish git mount procps util-linux zsh",
}
PROGRAM = "#!{python}\nimport sys\n\nfrom ui.shell.main import main\n\nsys.exit(main())\n"
POLICY = Path("/usr/sbin/policy-rc.d")
KEPT_POLICY = Path("/usr/sbin/policy-rc.d.before-pileus")
NO_SERVICES = "#!/bin/sh\n# Packages are being installed for Pileus, which starts its own servers.\nexit 101\n"


def fingerprint() -> str:
    """Changes with everything that decides what this file installs."""
    inputs = LOCK.read_bytes() + EXTRA_LOCK.read_bytes() + Path(__file__).read_bytes() + sys.version.encode()
    return hashlib.sha256(inputs).hexdigest()


@contextmanager
def step(title: str) -> Iterator[None]:
    started = time.monotonic()
    print(f"  {title:<52}", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f"{time.monotonic() - started:8.1f} s", flush=True)


def run(argv: list[str], env: dict[str, str] | None = None) -> str:
    """What `argv` prints. Ends this program, with the last lines of the output, when it fails."""
    done = subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(env or {})},
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-30:])
        print(f"\n{' '.join(argv)} failed with code {done.returncode}:\n{last}", file=sys.stderr, flush=True)
        raise SystemExit(1)
    return done.stdout


def missing_packages() -> list[str]:
    wanted = " ".join(PACKAGES.values()).split()
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


@contextmanager
def no_services() -> Iterator[None]:
    """Keep packages from starting their services, and leave the machine's own policy as it was."""
    if KEPT_POLICY.exists():
        KEPT_POLICY.replace(POLICY)
    kept = POLICY.exists()
    if kept:
        POLICY.rename(KEPT_POLICY)
    POLICY.write_text(NO_SERVICES)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if kept:
            KEPT_POLICY.rename(POLICY)


def install_packages() -> None:
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"These Debian packages are missing, and only root can install them: {' '.join(missing)}")
    env = {"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none", "LC_ALL": "C.UTF-8"}
    options = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
    options += ["-o", "DPkg::Lock::Timeout=300"]
    with step("package lists"):
        run(["apt-get", *options, "-q", "update"], env)
    with step(f"{len(missing)} system packages"), no_services():
        run(["apt-get", *options, "-q", "-y", "--no-install-recommends", "install", *missing], env)


def install_python_packages() -> None:
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        with step("virtual environment"):
            run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
    with step("Python packages of the locks"):
        choice = ["--only-binary=:all:", f"--no-binary={FROM_SOURCE}", "--disable-pip-version-check", "--no-input"]
        locks = ["-r", str(LOCK), "-r", str(EXTRA_LOCK)]
        run([str(python), "-m", "pip", "install", "-q", "--require-hashes", *choice, *locks])
    for packages in ENVIRONMENT.glob("lib/python3.*/site-packages"):
        (packages / "pileus.pth").write_text(f"{REPOSITORY}\n")
    write_program(ENVIRONMENT / "bin")


def write_program(directory: Path) -> None:
    """The console script of the project, which pip would write had it installed the project itself."""
    program = directory / "pileus"
    program.unlink(missing_ok=True)
    program.write_text(PROGRAM.format(python=directory / "python"))
    program.chmod(0o755)


def main() -> None:
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("Pileus needs Python 3.11 or newer.")
    folder = os.open(REPOSITORY, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # two commands that start together set up one after the other
    wanted = fingerprint()
    if "--quiet" in sys.argv[1:] and STAMP.exists() and STAMP.read_text() == wanted:
        return
    print("Setting up", flush=True)
    install_packages()
    install_python_packages()
    STAMP.write_text(wanted)


if __name__ == "__main__":
    main()
