"""Entry point of an agent: one host, one image store, or many simulated hosts in one process."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from celery import Celery

from agents import log as logs
from agents.bus import REPORTS, Message, make_app, worker_arguments
from agents.config import AgentConfig, SimulatorConfig, read
from agents.contract import HostReport
from agents.envelope import load_key, make_key, peek, public_key, public_text
from agents.host.build import build_host
from agents.host.host import Host
from agents.outbox import Outbox, post
from agents.runner import Runner

HANDLER_MODULES = (
    "agents.host.vm",
    "agents.host.nic",
    "agents.host.network",
    "agents.host.inquiry",
    "agents.host.volume",
    "agents.images.handlers",
)
STORE_FACTS_SECONDS = 15.0

RESTORE_ATTEMPTS = 10
PRUNE_SECONDS = 3600.0
WATCH_SECONDS = 1.0

log = structlog.get_logger()


class NotRestored(Exception):  # noqa: N818 - it names what happened
    """Some guests of a host that was started anew did not start; they are tried again."""


class Agent:
    """One enrolled agent in this process: its runner, and the thread that reports for it."""

    def __init__(self, config: AgentConfig, app: Celery, outbox: Outbox) -> None:
        self.config = config
        self.app = app
        self.host: Host = build_host(config)
        keys = (load_key(Path(config.private_key_file)), public_key(config.manager_public_key))
        self.runner = Runner(config.agent_id, self.host, self.host.journal, keys, outbox.put)
        self.incarnation = uuid.uuid4().hex
        self.sequence = 0
        self.restored = 0
        self.prune_at = 0.0
        self.switch_mark = self.host.switch_mark

    def _report(self, kind: str, body: Any) -> None:
        post(self.app, Message(REPORTS, "manager.report", (self.runner.report(kind, body),)))

    def restore_after_reboot(self) -> None:
        """Bring the host back from the journal when it was started anew; else only make sure of the network."""
        if self.config.kind != "host":
            return
        mark = self.host.boot_mark
        if self.config.hypervisor == "simulator" or self.host.journal.fact("boot") == mark:
            self.host.resume()
            return
        log.info("host was started anew", boot=mark)
        failed = self.host.restore()
        self.restored += 1
        if failed and self.restored < RESTORE_ATTEMPTS:
            raise NotRestored(f"Not all guests have started: {failed}.")
        if failed:
            log.error("guests did not start", guests=failed)
        self.host.journal.set_fact("boot", mark)

    def watch_switch(self) -> None:
        """Give a switch that was started anew its flows again: guests' traffic stands still until then."""
        mark = self.host.switch_mark
        if mark in ("", self.switch_mark):
            return
        log.info("switch was started anew", agent=self.config.agent_id)
        self.host.resume()
        self.switch_mark = mark

    def heartbeat(self) -> None:
        self.sequence += 1
        if self.config.kind == "host":
            domains = tuple(self.host.hypervisor.domains())
            report = HostReport(self.incarnation, self.sequence, self.host.facts(), domains)
            self._report("heartbeat", report)
        else:
            body = {"incarnation": self.incarnation, "sequence": self.sequence}
            self._report("alive", body)

    def take_inventory(self) -> None:
        if self.config.kind == "host":
            self.host.keep_tunnels()
        self.sequence += 1
        found = replace(self.host.inventory(), incarnation=self.incarnation, sequence=self.sequence)
        self._report("inventory", found)
        if time.monotonic() >= self.prune_at:
            self.host.journal.prune()
            self.prune_at = time.monotonic() + PRUNE_SECONDS


def keep_reporting(agents: list[Agent], heartbeat_seconds: float, inventory_seconds: float) -> None:
    """Heartbeats and inventories at a fixed rate, whole each time; what a sick driver cannot tell is left out."""
    last_inventory = 0.0
    while True:
        due = time.monotonic() - last_inventory >= inventory_seconds
        for agent in agents:
            try:
                agent.heartbeat()
                if due:
                    agent.take_inventory()
            except Exception as error:
                log.warning("report failed", agent=agent.config.agent_id, exc_info=error)
        if due:
            last_inventory = time.monotonic()
        time.sleep(heartbeat_seconds)


def keep_watching(agents: list[Agent]) -> None:
    while True:
        time.sleep(WATCH_SECONDS)
        for agent in agents:
            try:
                agent.watch_switch()
            except Exception as error:  # noqa: BLE001 - a switch that is coming up may fail in any way
                log.warning("switch not ready yet", agent=agent.config.agent_id, error=str(error))


def bring_up(agents: list[Agent]) -> None:
    """Restore each host; one whose switch or libvirt is not there yet is tried again until it is."""
    for agent in agents:
        while True:
            try:
                agent.restore_after_reboot()
                break
            except Exception as error:  # noqa: BLE001 - a host that is coming up may fail in any way
                log.warning("not ready yet", agent=agent.config.agent_id, error=str(error))
                time.sleep(1.0)


def serve(config: AgentConfig | SimulatorConfig) -> None:
    many = isinstance(config, SimulatorConfig)
    configs = config.agents if isinstance(config, SimulatorConfig) else (config,)
    url = config.broker_url if isinstance(config, SimulatorConfig) else config.url
    app = make_app(url, [f"agent.{c.agent_id}" for c in configs])
    for module in HANDLER_MODULES:
        importlib.import_module(module)
    outbox = Outbox(app)
    agents = {c.agent_id: Agent(c, app, outbox) for c in configs}

    @app.task(name="agents.do")
    def do(envelope: Any) -> None:
        agent = agents.get(str(peek(envelope).get("agent")))
        if agent is not None:
            agent.runner.receive(envelope)

    threading.Thread(target=outbox.keep_sending, daemon=True).start()
    bring_up(list(agents.values()))
    pace = (config.heartbeat_seconds, config.inventory_seconds)
    threading.Thread(target=keep_reporting, args=(list(agents.values()), *pace), daemon=True).start()
    if not many:
        threading.Thread(target=keep_watching, args=(list(agents.values()),), daemon=True).start()
    app.worker_main(worker_arguments("solo" if many and config.threads == 1 else "threads", config.threads))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m agents.main", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=["keygen"], help="make a key pair, print the public key")
    parser.add_argument("--config", type=Path, help="the agent's settings: its join document and the host's own")
    parser.add_argument("--out", type=Path, help="with keygen: the directory for agent.pem")
    arguments = parser.parse_args()
    logs.set_up(os.environ.get("PILEUS_LOG_LEVEL", "INFO"))
    if arguments.verb == "keygen":
        make_key(arguments.out / "agent.pem")
        print(public_text(load_key(arguments.out / "agent.pem")))  # noqa: T201 - it is what keygen is for
    elif arguments.config:
        serve(read(arguments.config))
    else:
        sys.exit("Give --config FILE, or keygen --out DIRECTORY.")


if __name__ == "__main__":
    main()
