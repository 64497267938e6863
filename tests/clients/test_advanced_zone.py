"""examples/advanced_zone.py builds the zone of its file, once, and the zone works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from devcloud.management import Keys
from devcloud.paths import REPOSITORY
from tests.clients.conftest import client_of

SCRIPT = REPOSITORY / "examples" / "advanced_zone.py"
PLAN = tomllib.loads(SCRIPT.with_suffix(".toml").read_text())


class Example:
    """The script's runs against one server, with the agents' directory."""

    def __init__(self, endpoint: str, keys: Keys, home: Path) -> None:
        named = {"ENDPOINT": endpoint, "KEY": keys.apikey, "SECRET": keys.secretkey}
        self.home = home
        self.environment = {**os.environ, **{f"CLOUDSTACK_{name}": value for name, value in named.items()}}

    def run(self, *options: str) -> str:
        argv = [sys.executable, str(SCRIPT), "--agents", str(self.home), *options]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def example(simulator, root_keys, tmp_path_factory):
    made = Example(simulator.management.endpoint, root_keys, tmp_path_factory.mktemp("agents"))
    try:
        made.first = made.run()
        yield made
    finally:
        made.run("--end-agents")


def test_the_zone_is_as_the_file_says(example, root):
    (zone,) = root.listZones(name=PLAN["zone"]["name"])["zone"]
    assert zone["allocationstate"] == "Enabled"
    for wanted in PLAN["cluster"]:
        (cluster,) = root.listClusters(name=wanted["clustername"], zoneid=zone["id"])["cluster"]
        hosts = root.listHosts(clusterid=cluster["id"], type="Routing")["host"]
        assert {(host["name"], host["state"]) for host in hosts} == {(one["name"], "Up") for one in wanted["host"]}
    pools = root.listStoragePools(zoneid=zone["id"])["storagepool"]
    assert len(pools) == sum(len(wanted["host"]) for wanted in PLAN["cluster"])
    domains = {one["path"] for one in root.listDomains(listall="true")["domain"]}
    assert {f"ROOT/{wanted['name']}" for wanted in PLAN["domain"]} <= domains


def test_a_second_run_makes_nothing(example):
    again = example.run()
    assert " made" in example.first
    assert " made" not in again


def test_a_tenant_of_the_file_runs_a_vm_there(example, simulator, root):
    keys = json.loads((example.home / "accounts.json").read_text())["web"]
    web = client_of(simulator, Keys(keys["apikey"], keys["secretkey"]))
    (zone,) = root.listZones(name=PLAN["zone"]["name"])["zone"]
    (network,) = web.listNetworks(name="front")["network"]
    (template,) = web.listTemplates(templatefilter="featured", name="debian-12", zoneid=zone["id"])["template"]
    (offering,) = web.listServiceOfferings(name="web.small")["serviceoffering"]
    place = {"zoneid": zone["id"], "templateid": template["id"], "serviceofferingid": offering["id"]}
    vm = web.deployVirtualMachine(name="first", networkids=network["id"], fetch_result=True, **place)
    (seen,) = root.listVirtualMachines(id=vm["virtualmachine"]["id"], listall="true")["virtualmachine"]
    assert (seen["state"], seen["account"], seen["zonename"]) == ("Running", "web", PLAN["zone"]["name"])
    assert seen["hostname"] in {one["name"] for wanted in PLAN["cluster"] for one in wanted["host"]}
