#!/usr/bin/env python3
"""Build a zone from one file, through the public API alone, with the PyPI client `cs`.

    CLOUDSTACK_ENDPOINT=... CLOUDSTACK_KEY=... CLOUDSTACK_SECRET=... \
        python examples/advanced_zone.py examples/advanced_zone.toml --agents /var/lib/pileus/example

Whatever is there already, by name, is left as it is. Agents of simulated hosts get a directory each below --agents,
with their key, settings and log, and are started; `--end-agents` ends them. A real host's agent is started on that
host: its settings file is written here for you to copy.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from cs import CloudStack, CloudStackException

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 180
Entity = dict[str, Any]


class Agents:
    """The agents of the image store and of simulated hosts: a directory, a key and a process each."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def public_key(self, name: str) -> str:
        kept = self.home / name / "agent.pub"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(self._python("agents.main", "keygen", "--out", str(kept.parent)).split()[-1])
        return kept.read_text()

    def settings(self, name: str, document: Entity, hypervisor: str, address: str) -> Path:
        """The join document and what the machine itself adds to it, for that agent's eyes alone."""
        home = self.home / name
        own = {"private_key_file": str(home / "agent.pem"), "journal": str(home / "journal.db"), "hostname": name}
        own |= {"state_dir": str(home), "hypervisor": hypervisor, "underlay_address": address}
        path = home / "agent.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({**document, **own}, indent=1))
        return path

    def start(self, name: str, settings: Path) -> None:
        pid_file = self.home / name / "agent.pid"
        if pid_file.exists() and Path(f"/proc/{pid_file.read_text()}").exists():
            return
        with (self.home / name / "agent.log").open("ab") as log:
            argv = [sys.executable, "-m", "agents.main", "--config", str(settings)]
            process = subprocess.Popen(argv, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
        pid_file.write_text(str(process.pid))

    def end(self) -> None:
        for pid_file in self.home.glob("*/agent.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            pid_file.unlink()

    @staticmethod
    def _python(*words: str) -> str:
        argv = [sys.executable, "-m", *words]
        return subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


class Cloud:
    """The API, as one who makes what is missing."""

    def __init__(self) -> None:
        self.client = CloudStack(
            endpoint=os.environ["CLOUDSTACK_ENDPOINT"],
            key=os.environ["CLOUDSTACK_KEY"],
            secret=os.environ["CLOUDSTACK_SECRET"],
            timeout=60,
        )

    def call(self, command: str, **parameters: Any) -> Any:
        """The answer of `command`, that of its job when it starts one."""
        return getattr(self.client, command)(fetch_result=True, **parameters)

    def find(self, command: str, key: str, wanted: Entity, **filters: Any) -> Entity | None:
        """The listed thing whose fields are as `wanted`."""
        listed = self.call(command, **filters).get(key, [])
        return next((one for one in listed if wanted.items() <= one.items()), None)

    def ensure(self, noun: str, wanted: Entity, create: str, values: Entity, **filters: Any) -> Entity:
        """The thing of the kind `noun` whose fields are as `wanted`, made with `values` when it is missing."""
        found = self.find(f"list{PLURALS[noun]}", noun.lower(), wanted, **filters)
        told = "is there"
        if found is None:
            made = next(value for label, value in self.call(create, **values).items() if label != "count")
            found, told = (made[0] if isinstance(made, list) else made), "made"
        print(f"  {noun:18} {next(iter(wanted.values())):24} {told}", flush=True)
        return found

    def wait(self, what: str, noun: str, wanted: Entity, **filters: Any) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.find(f"list{PLURALS[noun]}", noun.lower(), wanted, **filters) is None:
            if time.monotonic() > deadline:
                sys.exit(f"{what} is not {wanted} after {PATIENCE_SECONDS} seconds.")
            time.sleep(0.5)
        print(f"  {noun:18} {what:24} is ready", flush=True)


PLURALS = {
    "Zone": "Zones",
    "PhysicalNetwork": "PhysicalNetworks",
    "TrafficType": "TrafficTypes",
    "VlanIpRange": "VlanIpRanges",
    "Pod": "Pods",
    "Cluster": "Clusters",
    "Host": "Hosts",
    "StoragePool": "StoragePools",
    "ImageStore": "ImageStores",
    "ServiceOffering": "ServiceOfferings",
    "DiskOffering": "DiskOfferings",
    "NetworkOffering": "NetworkOfferings",
    "Template": "Templates",
    "Domain": "Domains",
    "Account": "Accounts",
    "Network": "Networks",
}


def build_place(cloud: Cloud, plan: Entity) -> Entity:
    """Zone, physical network, public addresses and pod; gives the ids that hosts need."""
    wanted = plan["zone"]
    made = {**wanted, "networktype": "Advanced", "localstorageenabled": "true"}
    zone = cloud.ensure("Zone", {"name": wanted["name"]}, "createZone", made)["id"]
    fabric = {k: v for k, v in plan["physical_network"].items() if k != "traffic"}
    made = {**fabric, "zoneid": zone}
    network = cloud.ensure("PhysicalNetwork", {"name": fabric["name"]}, "createPhysicalNetwork", made, zoneid=zone)
    for kind, label in plan["physical_network"]["traffic"].items():
        made = {"physicalnetworkid": network["id"], "traffictype": kind}
        made |= {"kvmnetworklabel": label} if label else {}
        cloud.ensure("TrafficType", {"traffictype": kind}, "addTrafficType", made, physicalnetworkid=network["id"])
    if network.get("state") != "Enabled":
        cloud.call("updatePhysicalNetwork", id=network["id"], state="Enabled")
    made = {**plan["public_range"], "zoneid": zone, "physicalnetworkid": network["id"], "forvirtualnetwork": "true"}
    first = {"startip": made["startip"]}
    cloud.ensure("VlanIpRange", first, "createVlanIpRange", made, zoneid=zone)
    made = {**plan["pod"], "zoneid": zone}
    pod = cloud.ensure("Pod", {"name": made["name"]}, "createPod", made, zoneid=zone)["id"]
    return {"zoneid": zone, "podid": pod}


def build_image_store(cloud: Cloud, plan: Entity, agents: Agents, zone_id: str) -> None:
    wanted = plan["image_store"]
    details = [{"key": "publickey", "value": agents.public_key(wanted["name"])}]
    made = {**wanted, "provider": "Simulator", "zoneid": zone_id, "details": details}
    store = cloud.ensure("ImageStore", {"name": wanted["name"]}, "addImageStore", made, zoneid=zone_id)
    document = cloud.call("getJoinDocument", imagestoreid=store["id"])["joindocument"]["document"]
    agents.start(wanted["name"], agents.settings(wanted["name"], json.loads(document), "simulator", ""))


def build_hosts(cloud: Cloud, plan: Entity, agents: Agents, place: Entity) -> None:
    """Clusters, their hosts with a pool each, and the agents of the simulated ones; ends when all hosts are Up."""
    number = 0
    for wanted in plan["cluster"]:
        kind = wanted["hypervisor"]
        made = {"clustername": wanted["clustername"], "hypervisor": kind, "clustertype": "CloudManaged", **place}
        name = {"name": wanted["clustername"]}
        cluster = cloud.ensure("Cluster", name, "addCluster", made, zoneid=place["zoneid"])
        there = {**place, "clusterid": cluster["id"]}
        for one in wanted["host"]:
            number += 1
            build_host(cloud, plan, agents, {**one, "hypervisor": kind, "number": number}, there)
    for host in (one for cluster in plan["cluster"] for one in cluster["host"]):
        cloud.wait(host["name"], "Host", {"name": host["name"], "state": "Up"}, type="Routing")


def build_host(cloud: Cloud, plan: Entity, agents: Agents, wanted: Entity, there: Entity) -> None:
    name, simulated = wanted["name"], wanted["hypervisor"] == "Simulator"
    key = wanted.get("publickey") or agents.public_key(name)
    made = {"url": f"http://{name}", "hypervisor": wanted["hypervisor"], "username": "", "password": "", **there}
    made["details"] = [{"publickey": key}]
    host = cloud.ensure("Host", {"name": name}, "addHost", made, type="Routing", zoneid=there["zoneid"])
    storage = plan["storage"]
    pool = {"name": f"{name}-local", "url": storage["url"].format(host=name), "scope": "HOST", "hostid": host["id"]}
    pool |= {"capacitybytes": storage["capacitybytes"], **there}
    cloud.ensure("StoragePool", {"name": pool["name"]}, "createStoragePool", pool, zoneid=there["zoneid"])
    document = json.loads(cloud.call("getJoinDocument", hostid=host["id"])["joindocument"]["document"])
    driver = "simulator" if simulated else "libvirt"
    settings = agents.settings(name, document, driver, wanted.get("underlay", f"198.18.0.{wanted['number']}"))
    if simulated:
        agents.start(name, settings)
    else:
        print(f"  copy {settings} to {name} and start its agent", flush=True)


def build_catalog(cloud: Cloud, plan: Entity, zone_id: str) -> None:
    """Offerings and templates; the zone opens when they are there."""
    for wanted in plan["service_offering"]:
        cloud.ensure("ServiceOffering", {"name": wanted["name"]}, "createServiceOffering", wanted)
    for wanted in plan["disk_offering"]:
        cloud.ensure("DiskOffering", {"name": wanted["name"]}, "createDiskOffering", wanted)
    cloud.call("updateZone", id=zone_id, allocationstate="Enabled")
    kinds = {one["description"]: one["id"] for one in cloud.call("listOsTypes")["ostype"]}
    hypervisor = plan["cluster"][0]["hypervisor"]
    every = {"templatefilter": "all", "zoneid": zone_id}
    for wanted in plan["template"]:
        made = {k: v for k, v in wanted.items() if k != "ostype"}
        made |= {"ostypeid": kinds.get(wanted["ostype"]) or next(iter(kinds.values())), "zoneid": zone_id}
        made |= {"hypervisor": hypervisor, "ispublic": "true", "isfeatured": "true"}
        cloud.ensure("Template", {"name": wanted["name"]}, "registerTemplate", made, **every)
        cloud.wait(wanted["name"], "Template", {"name": wanted["name"], "isready": True}, **every)


def build_tenants(cloud: Cloud, plan: Entity, zone_id: str, kept: Path) -> None:
    """Domains, accounts with keys, and their networks."""
    root = cloud.find("listDomains", "domain", {"level": 0}) or {}
    domains = {"": root["id"]}
    keys = json.loads(kept.read_text()) if kept.exists() else {}
    for wanted in plan["domain"]:
        above, _, name = wanted["name"].rpartition("/")
        made = {"name": name, "parentdomainid": domains[above]}
        found = {"name": name, "parentdomainid": domains[above]}
        domains[wanted["name"]] = cloud.ensure("Domain", found, "createDomain", made, listall="true")["id"]
        for account in wanted["account"]:
            keys.setdefault(account["name"], {}).update(build_account(cloud, account, domains[wanted["name"]]))
    kept.touch(mode=0o600)
    kept.write_text(json.dumps(keys, indent=1))
    offerings = {one["name"]: one["id"] for one in cloud.call("listNetworkOfferings")["networkoffering"]}
    for wanted in plan["network"]:
        owner = {"account": wanted["account"], "domainid": keys[wanted["account"]]["domainid"]}
        made = {"name": wanted["name"], "displaytext": wanted["name"], "zoneid": zone_id, **owner}
        made["networkofferingid"] = offerings[wanted["networkoffering"]]
        cloud.ensure("Network", {"name": wanted["name"]}, "createNetwork", made, **owner)


def build_account(cloud: Cloud, wanted: Entity, domain_id: str) -> Entity:
    name = wanted["name"]
    person = {"username": name, "firstname": name, "lastname": "Example", "email": f"{name}@example.test"}
    made = {"account": name, "accounttype": wanted["accounttype"], "domainid": domain_id, **person}
    made["password"] = secrets.token_urlsafe(16)
    account = cloud.ensure("Account", {"name": name}, "createAccount", made, domainid=domain_id, listall="true")
    user = account["user"][0]
    if user.get("apikey"):
        return {"domainid": domain_id}
    key = cloud.call("registerUserKeys", id=user["id"])["userkeys"]
    return {"domainid": domain_id, "apikey": key["apikey"], "secretkey": key["secretkey"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, nargs="?", default=Path(__file__).with_suffix(".toml"))
    parser.add_argument("--agents", type=Path, required=True, help="directory of the agents' keys and settings")
    parser.add_argument("--end-agents", action="store_true", help="end the agents that an earlier run started")
    options = parser.parse_args()
    agents = Agents(options.agents.resolve())
    if options.end_agents:
        agents.end()
        return
    plan = tomllib.loads(options.plan.read_text())
    cloud = Cloud()
    try:
        place = build_place(cloud, plan)
        build_image_store(cloud, plan, agents, place["zoneid"])
        build_hosts(cloud, plan, agents, place)
        build_catalog(cloud, plan, place["zoneid"])
        build_tenants(cloud, plan, place["zoneid"], agents.home / "accounts.json")
    except CloudStackException as error:
        sys.exit(f"The API refused: {error}")


if __name__ == "__main__":
    main()
