"""A network in a namespace of its own in which a tiny guest boots alone, with DHCP, metadata and passwords."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

GATEWAY, ADDRESS, MAC = "10.1.1.1", "10.1.1.23", "52:54:00:00:00:17"
MTU = 1400
ROUTES = f"0.0.0.0/0,{GATEWAY},192.168.99.0/24,10.1.1.254"


class LabError(Exception):
    """Something of the lab did not start or did not happen in time."""


class Lab:
    """The namespace and its servers. `folder/latest` holds the metadata, `folder/password` the password to hand out."""

    def __init__(self, name: str, folder: Path) -> None:
        """`name` is that of the namespace and of the tap in it, at most 15 characters."""
        self.name, self.folder = name, folder
        self.dhcp_log = folder / "dnsmasq.log"
        self.servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        (self.folder / "latest/meta-data").mkdir(parents=True, exist_ok=True)
        self.dhcp_log.touch()
        ip = ("ip", "-n", self.name)
        for command in (
            ("ip", "netns", "add", self.name),
            (*ip, "link", "set", "lo", "up"),
            (*ip, "tuntap", "add", self.name, "mode", "tap"),
            (*ip, "address", "add", f"{GATEWAY}/24", "dev", self.name),
            (*ip, "address", "add", "169.254.169.254/32", "dev", "lo"),
            (*ip, "link", "set", self.name, "up"),
        ):
            subprocess.run(command, check=True)
        self.servers.append(self.start(*self.dnsmasq()))
        self.servers.append(self.serve())
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.terminate()
            server.wait()
        subprocess.run(("ip", "netns", "delete", self.name), check=True)

    def serve(self) -> subprocess.Popen[bytes]:
        """The metadata and password server, in a process of the namespace."""
        return self.start(sys.executable, __file__, str(self.folder))

    def dnsmasq(self) -> tuple[str, ...]:
        return (
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--no-ping"),
            *(f"--interface={self.name}", "--bind-interfaces", "--dhcp-authoritative", "--domain=cloud.test"),
            *("--dhcp-range=10.1.1.0,static,255.255.255.0,120", f"--dhcp-host={MAC},{ADDRESS},first"),
            *(f"--dhcp-option=26,{MTU}", f"--dhcp-option=121,{ROUTES}", "--address=/answer.test/192.0.2.7"),
            *("--log-dhcp", f"--log-facility={self.dhcp_log}", f"--dhcp-leasefile={self.folder}/leases", "--user=root"),
            "--pid-file=",
        )

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(("ip", "netns", "exec", self.name, *command), stdin=subprocess.DEVNULL)

    def run(self, *command: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        """The command run in the lab's namespace, whatever its exit status."""
        words = ("ip", "netns", "exec", self.name, *command)
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)

    def ssh(self, key: Path, *command: str) -> subprocess.CompletedProcess[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR")
        words = [word for option in options for word in ("-o", option)]
        return self.run("ssh", "-i", str(key), *words, f"root@{ADDRESS}", *command)

    def publish(self, path: str, content: str) -> None:
        (self.folder / "latest" / path).write_text(content)


class Guest:
    """One guest under QEMU without KVM, its serial console in a file and its monitor on a socket."""

    def __init__(self, lab: Lab, disk: Path, machine: str = "pc", memory_mib: int = 96) -> None:
        self.lab, self.disk, self.machine, self.memory_mib = lab, disk, machine, memory_mib
        self.serial = disk.with_suffix(".serial")
        self.socket = disk.with_suffix(".qmp")

    def __enter__(self) -> Self:
        self.serial.write_bytes(b"")
        root_ports = ("-device", "pcie-root-port,id=spare,slot=1") if self.machine == "q35" else ()
        self.started = time.monotonic()
        self.process = self.lab.start(
            *("qemu-system-x86_64", "-machine", self.machine, "-accel", "tcg", "-m", str(self.memory_mib)),
            *("-display", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{self.serial}"),
            *("-qmp", f"unix:{self.socket},server=on,wait=off"),
            *("-drive", f"file={self.disk},format=qcow2,if=virtio"),
            *("-netdev", f"tap,id=net,ifname={self.lab.name},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
            *("-device", "virtio-rng-pci"),
            *root_ports,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def log(self) -> str:
        return self.serial.read_text(errors="replace")

    def wait_for(self, line: str, timeout: float = 40, count: int = 1) -> float:
        """Seconds from the start of QEMU until the console has shown `line` `count` times.

        :raises LabError: it does not show it, or the guest is gone
        """
        while self.log.count(line) < count:
            if time.monotonic() - self.started > timeout or self.process.poll() is not None:
                raise LabError(f"The guest did not say {line!r} {count} times; it said:\n{self.log}")
            time.sleep(0.02)
        return time.monotonic() - self.started

    def qmp(self, *commands: tuple[str, dict[str, object]]) -> None:
        """Gives the commands to QEMU's monitor, each with its arguments.

        :raises LabError: QEMU refuses one
        """
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.socket))
            answers = monitor.makefile("r")
            answers.readline()
            for name, arguments in (("qmp_capabilities", {}), *commands):
                monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
                answer = next(line for line in map(json.loads, answers) if "event" not in line)
                if "error" in answer:
                    raise LabError(f"QEMU refuses {name}: {answer['error']['desc']}")

    def ended(self, timeout: float) -> bool:
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


class MetadataServer(BaseHTTPRequestHandler):
    """The files below `folder/latest`."""

    folder: Path

    def do_GET(self) -> None:
        path = (self.folder / self.path.lstrip("/")).resolve()
        found = path.is_relative_to(self.folder) and path.is_file()
        self.reply(200 if found else 404, path.read_bytes() if found else b"")

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class PasswordServer(MetadataServer):
    """CloudStack's password server: hands the password out until the guest says that it has saved it."""

    def do_GET(self) -> None:
        request, kept = self.headers.get("DomU_Request"), self.folder / "password"
        password = kept.read_bytes() if kept.exists() else b"saved_password"
        if request == "saved_password":
            kept.unlink(missing_ok=True)
        self.reply(200, password if request == "send_my_password" else b"saved_password")


def serve(folder: Path) -> None:
    MetadataServer.folder = folder.resolve()
    passwords = ThreadingHTTPServer(("", 8080), PasswordServer)
    threading.Thread(target=passwords.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("", 80), MetadataServer).serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
