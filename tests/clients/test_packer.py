"""Packer's CloudStack builder, from Debian, makes a template of a VM.

Simulated guests run nothing, so nothing is provisioned in the VM: it is deployed, stopped, captured and destroyed.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from devcloud.cloud import ZONE
from devcloud.processes import wait_until
from tests.clients.conftest import client_of, debian_package


@pytest.fixture(scope="module")
def tenant(simulator, tenant_keys):
    return client_of(simulator, tenant_keys)


@pytest.fixture
def network(tenant):
    (zone,) = tenant.listZones(name=ZONE)["zone"]
    offering = tenant.listNetworkOfferings(name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    made = tenant.createNetwork(
        name="packer", displaytext="packer", zoneid=zone["id"], networkofferingid=offering["networkoffering"][0]["id"]
    )["network"]
    yield made
    tenant.deleteNetwork(id=made["id"], fetch_result=True)


def test_a_template_is_made_of_a_vm(simulator, tenant, tenant_keys, network, tmp_path):
    program = debian_package("packer") / "usr" / "bin" / "packer"
    builder = {
        "type": "cloudstack",
        "api_url": simulator.management.endpoint,
        "api_key": tenant_keys.apikey,
        "secret_key": tenant_keys.secretkey,
        "zone": ZONE,
        "network": network["id"],
        "service_offering": "tiny",
        "source_template": "tiny",
        "hypervisor": "Simulator",
        "instance_name": "packer-build",
        "template_name": "packed",
        "template_display_text": "Made by Packer",
        "template_os": "Other Linux (64-bit)",
        "communicator": "none",
        "use_local_ip_address": True,
        "expunge": True,
    }
    plan = tmp_path / "template.json"
    plan.write_text(json.dumps({"builders": [builder]}))
    environment = {**os.environ, "PACKER_NO_COLOR": "1", "CHECKPOINT_DISABLE": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [str(program), "build", str(plan)], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (template,) = tenant.listTemplates(templatefilter="self", name="packed")["template"]
    assert "A template was created: packed" in done.stdout
    assert (template["isready"], template["displaytext"]) == (True, "Made by Packer")
    wait_until(lambda: tenant.listVirtualMachines(name="packer-build") == {}, "Packer's VM to be expunged", 30.0)
    tenant.deleteTemplate(id=template["id"], fetch_result=True)
    assert tenant.listTemplates(templatefilter="self", name="packed") == {}
