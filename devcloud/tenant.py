"""A tenant of DevCloud as the proof uses it: its network, its guests, and a way into them by ssh."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cs import CloudStack, CloudStackException

from devcloud.cells import Cell
from devcloud.processes import output

NETWORK_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
READY = "pileus: ready"
READY_SECONDS = 240.0
USER_DATA = "#!/bin/sh\necho proved > /root/user-data\n"
Entity = dict[str, Any]


class ProofError(Exception):
    """Something is not as it must be; the message tells what was seen."""


@dataclass
class Guest:
    """A running guest and the address it was given."""

    vm: Entity
    address: str
    network_id: str

    @property
    def name(self) -> str:
        return str(self.vm["name"])


@dataclass
class Tenant:
    """`client` signs as the tenant; `root` asks what only the administrator may see."""

    name: str
    client: CloudStack
    root: CloudStack
    cells: dict[str, Cell]
    key_file: Path
    key_name: str = "proof"
    guests: dict[str, Guest] = field(default_factory=dict)
    network: Entity = field(default_factory=dict)

    def ensure_network(self, zone_id: str, name: str = "net") -> None:
        """An isolated network 10.1.1.0/24; every tenant has the same one."""
        there = self.client.listNetworks().get("network", [])
        self.network = next((one for one in there if one["name"] == name), {})
        if not self.network:
            offering = self.root.listNetworkOfferings(name=NETWORK_OFFERING)["networkoffering"][0]["id"]
            made = self.client.createNetwork(name=name, zoneid=zone_id, networkofferingid=offering)
            self.network = made["network"]

    def ensure_key(self) -> None:
        if not self.key_file.exists():
            output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.key_file)])
        if not self.client.listSSHKeyPairs(name=self.key_name):
            public = Path(f"{self.key_file}.pub").read_text()
            self.client.registerSSHKeyPair(name=self.key_name, publickey=public)

    def ensure_guest(self, name: str, address: str, place: dict[str, str]) -> None:
        """Begin to deploy the guest; `wait` waits for it. `place` holds zone, template and offering."""
        there = self.client.listVirtualMachines(name=name).get("virtualmachine", [])
        vm = next((one for one in there if one["name"] == name and one["state"] != "Error"), None)
        if vm is None:
            made = self.client.deployVirtualMachine(
                name=name, networkids=self.network["id"], ipaddress=address, keypair=self.key_name,
                userdata=base64.b64encode(USER_DATA.encode()).decode(), **place,
            )  # fmt: skip
            vm = {"id": made["id"], "name": name, "state": "Starting"}
        elif vm["state"] == "Stopped":
            self.client.startVirtualMachine(id=vm["id"])
        self.guests[name] = Guest(vm, address, self.network["id"])

    def wait(self) -> None:
        """Wait until all guests run and say on their console that they are ready."""
        deadline = time.monotonic() + READY_SECONDS
        for guest in self.guests.values():
            self._wait_running(guest, deadline)
            while READY not in self.console(guest):
                if time.monotonic() > deadline:
                    raise ProofError(f"{guest.name} is not ready; its console ends:\n{self.console(guest)[-1500:]}")
                time.sleep(1.0)

    def _wait_running(self, guest: Guest, deadline: float) -> None:
        while True:
            guest.vm = self.root.listVirtualMachines(id=guest.vm["id"], listall="true")["virtualmachine"][0]
            if guest.vm["state"] == "Running":
                return
            if guest.vm["state"] == "Error" or time.monotonic() > deadline:
                raise ProofError(f"{guest.name} is {guest.vm['state']}: {guest.vm.get('reason', 'no reason given')}")
            time.sleep(0.5)

    def console(self, guest: Guest) -> str:
        try:
            answer = self.client.getConsoleOutput(id=guest.vm["id"], fetch_result=True)
        except CloudStackException as error:
            raise ProofError(f"The console of {guest.name} cannot be read: {error}") from error
        return str(answer["consoleoutput"]["output"])

    def run(self, name: str, command: str) -> tuple[int, str]:
        """Exit code and output of a shell command inside the guest, by ssh from the network's router."""
        return self.ssh(name, command, *("-i", str(self.key_file), "-o", "BatchMode=yes"))

    def ssh(self, name: str, command: str, *options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        """As `run`; `options` of ssh, with `env`, tell how to log in. The code is 255 when the guest is not reached."""
        guest = self.guests[name]
        ssh = [
            *("ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
            *options,
            *(f"root@{guest.address}", command),
        ]
        argv = self._beside(guest, ssh)
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=90,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        return done.returncode, done.stdout + done.stderr

    def beside(self, name: str, argv: list[str]) -> str:
        """What `argv` writes when it runs in the namespace of the router of the guest's network."""
        return output(self._beside(self.guests[name], argv))

    def _beside(self, guest: Guest, argv: list[str]) -> list[str]:
        """The command that runs `argv` in the namespace of the router of the guest's network."""
        routers = self.root.listRouters(networkid=guest.network_id, listall="true")["router"]
        router = min(routers, key=lambda one: (one["state"] != "Running", one["redundantstate"] != "PRIMARY"))
        cell = self.cells[router["hostname"]]
        listed = json.loads(cell.exec(["ip", "-json", "netns", "list"]) or "[]")
        digits = router["id"].replace("-", "")
        for one in listed:
            if digits.startswith(one["name"].removeprefix("vr-")):
                return cell.enter(["ip", "netns", "exec", one["name"], *argv])
        raise ProofError(f"{cell.name} has no namespace of the router {router['name']} ({router['id']}).")

    def must(self, name: str, command: str, contains: str = "") -> str:
        """As `run`. :raises ProofError: it failed, or its output lacks `contains`."""
        code, text = self.run(name, command)
        if code or contains not in text:
            raise ProofError(f"{command!r} in {name} gave code {code} and {text.strip()!r}; wanted {contains!r}.")
        return text
