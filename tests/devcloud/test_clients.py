"""Clients from a shell: the command line of `cs` with the exports of `./dev devcloud env`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devcloud import status
from devcloud.paths import REPOSITORY

CS = Path(sys.executable).parent / "cs"


@pytest.fixture
def shell(proof, cloud):
    """Run a line in a shell that has evaluated the exports, and nothing else of CloudStack's."""
    exports = status.cloud_exports(cloud)

    def run(line):
        script = f'PATH={CS.parent}:$PATH\neval "$EXPORTS"\n{line}'
        env = {"EXPORTS": exports, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        return subprocess.run(
            ["/bin/sh", "-c", script], check=False, capture_output=True, text=True, env=env, cwd=REPOSITORY, timeout=60
        )

    return run


def test_command_line_lists_zones(shell):
    done = shell("cs listZones")
    assert (done.returncode, done.stderr) == (0, "")
    assert [zone["name"] for zone in json.loads(done.stdout)["zone"]] == ["devcloud"]


def test_shell_of_pileus_lists_zones(shell, tmp_path):
    done = shell(f"XDG_CACHE_HOME={tmp_path} pileus list zones -c name -o csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "name\ndevcloud\n", "")


def test_command_line_sees_all_guests_as_administrator(shell):
    answer = json.loads(shell("cs listVirtualMachines listall=true state=Running").stdout)
    assert {vm["name"] for vm in answer["virtualmachine"]} >= {"one-a", "one-b", "two-a", "two-b"}


def test_command_line_sees_its_own_guests_as_tenant(shell):
    as_tenant = "CLOUDSTACK_KEY=$TENANT2_KEY CLOUDSTACK_SECRET=$TENANT2_SECRET"
    answer = json.loads(shell(f"{as_tenant} cs listVirtualMachines listall=true").stdout)
    assert {vm["account"] for vm in answer["virtualmachine"]} == {"tenant2"}
    assert {vm["name"] for vm in answer["virtualmachine"]} >= {"two-a", "two-b"}


def test_command_line_waits_for_a_job_and_posts(shell):
    line = "cs --post createTags resourcetype=UserVm resourceids={} 'tags[0].key=by' 'tags[0].value=shell'"
    vms = json.loads(shell("cs listVirtualMachines name=one-a listall=true").stdout)["virtualmachine"]
    made = shell(line.format(vms[0]["id"]))
    assert json.loads(made.stdout) == {"success": True}, made.stderr
    tags = json.loads(shell("cs listTags listall=true key=by").stdout)["tag"]
    assert [(tag["value"], tag["resourceid"]) for tag in tags] == [("shell", vms[0]["id"])]
    assert shell(f"cs deleteTags resourcetype=UserVm resourceids={vms[0]['id']}").returncode == 0


def test_command_line_tells_errors(shell):
    done = shell("cs startVirtualMachine id=none")
    assert done.returncode == 1
    refusal = json.loads(done.stdout)["startvirtualmachineresponse"]
    assert (refusal["errorcode"], "Invalid parameter id value=none" in refusal["errortext"]) == (431, True)


def test_parameters_go_by_post_with_any_characters(proof):
    client = proof.tenants["tenant1"].client
    vm_id, name = proof.tenants["tenant1"].guests["one-a"].vm["id"], "A & b = ü+~*'[0]/%20?"
    for method in ("get", "post"):
        client.method = method
        try:
            client.updateVirtualMachine(id=vm_id, displayname=name + method)
            shown = client.listVirtualMachines(id=vm_id)["virtualmachine"][0]["displayname"]
        finally:
            client.method = "get"
        assert shown == name + method
