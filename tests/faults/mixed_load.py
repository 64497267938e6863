"""A tenant that deploys, stops, starts and destroys tiny guests without pause, and takes every refusal."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

import requests
from cs import CloudStack, CloudStackException

MOST_GUESTS = 2
PAUSE_SECONDS = (0.5, 2.0)


class Load:
    """One tenant's calls, in a thread; `done` counts those that were accepted."""

    def __init__(self, client: CloudStack, place: dict[str, str], network_id: str, seed: int) -> None:
        self.client = client
        self.deploy = {**place, "networkids": network_id}
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(self.random.uniform(*PAUSE_SECONDS)):
            with suppress(requests.RequestException, CloudStackException):
                self._act()

    def _act(self) -> None:
        listed = self.client.listVirtualMachines(keyword="load-").get("virtualmachine", [])
        mine = [vm for vm in listed if vm["name"].startswith("load-")]
        stopped = [vm for vm in mine if vm["state"] == "Stopped"]
        running = [vm for vm in mine if vm["state"] == "Running"]
        choices = (
            ["deploy"] * (len(mine) < MOST_GUESTS) + ["start", "destroy"] * bool(stopped) + ["stop"] * bool(running)
        )
        if not choices:
            return
        chosen = self.random.choice(choices)
        self._call(chosen, stopped if chosen in ("start", "destroy") else running)
        self.done[chosen] += 1

    def _call(self, chosen: str, among: list[dict[str, Any]]) -> None:
        vm_id = self.random.choice(among)["id"] if among else ""
        match chosen:
            case "deploy":
                token = str(uuid.uuid4())
                self.client.deployVirtualMachine(name=f"load-{token[:8]}", clienttoken=token, **self.deploy)
            case "start":
                self.client.startVirtualMachine(id=vm_id)
            case "stop":
                self.client.stopVirtualMachine(id=vm_id, forced="true")
            case "destroy":
                self.client.destroyVirtualMachine(id=vm_id)
