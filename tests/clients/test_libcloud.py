"""A journey by apache-libcloud's CloudStack driver: what it believes is what the cloud shows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from devcloud.cloud import ZONE
from tests.clients.conftest import run

SERVICES = "Dhcp,Dns,Firewall,Lb,SourceNat,UserData,SecurityGroup"
JOURNEY = Path(__file__).with_name("libcloud_journey.py")
VPC_JOURNEY = Path(__file__).with_name("libcloud_vpc_journey.py")


def test_a_node_from_its_key_pair_to_its_end(simulator, client_python, tenant_keys, root):
    kind = {"guestiptype": "Isolated", "traffictype": "Guest", "enable": "true", "displaytext": "d"}
    root.createNetworkOffering(name="Guarded by libcloud", supportedservices=SERVICES, **kind)
    argv = [str(client_python), str(JOURNEY), str(simulator.port), tenant_keys.apikey, tenant_keys.secretkey, ZONE]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as program:
        assert program.stdin
        assert program.stdout
        believed = json.loads(program.stdout.readline())
        (vm,) = root.listVirtualMachines(id=believed["vm"], listall="true")["virtualmachine"]
        (network,) = root.listNetworks(id=believed["network"], listall="true")["network"]
        assert (vm["state"], believed["made"], believed["state"]) == ("Running", "running", "running")
        assert believed["addresses"] == [vm["nic"][0]["ipaddress"]]
        assert (vm["name"], vm["keypairs"]) == (believed["name"], "libcloud") == ("lc1", "libcloud")
        assert {tag["key"]: tag["value"] for tag in vm["tags"]} == believed["tags"] == {"role": "web"}
        assert believed["stopped"] == "Stopped"
        assert believed["volumes"] == ["ROOT"]
        assert (believed["groups"], believed["rules"]) == (
            ["libcloud-web"], [["tcp", "0.0.0.0/0"], ["icmp", "192.0.2.0/24"]]
        )  # fmt: skip
        assert (believed["revoked"], believed["left"]) == (True, ["icmp"])
        assert network["displaytext"] == "Libcloud network"
        (balancer,) = root.listLoadBalancerRules(id=believed["balancer"], listall="true")["loadbalancerrule"]
        assert (balancer["name"], balancer["algorithm"], balancer["publicport"]) == ("lc-web", "roundrobin", "80")
        assert believed["members"] == [[vm["id"], vm["nic"][0]["ipaddress"]]]
        program.stdin.write("end\n")
        program.stdin.flush()
        ended = json.loads(program.stdout.readline())
    assert ended == {"balancers": 0, "destroyed": True, "nodes": 0, "group": True, "network": True, "keys": 0}
    assert root.listVirtualMachines(id=believed["vm"], listall="true") == {}
    assert root.listNetworks(id=believed["network"], listall="true") == {}
    assert program.returncode == 0


def test_a_vpc_with_its_list_and_its_vpn(simulator, client_python, tenant_keys, root):
    keys = (str(simulator.port), tenant_keys.apikey, tenant_keys.secretkey, ZONE)
    believed = json.loads(run([str(client_python), str(VPC_JOURNEY), *keys]))
    assert believed["seen"] == [[believed["vpc"], "10.60.0.0/16"]]
    assert (believed["replaced"], believed["lists"]) == (True, ["lc-acl"])
    assert believed["items"] == [[True, "tcp", "Allow", "192.0.2.0/24", "80", "81"]]
    assert believed["gateways"] == [True]
    assert believed["customers"] == [["203.0.113.70", "10.70.0.0/16"]]
    assert believed["connections"] == [[True, True, True]]
    assert (believed["ended"], believed["left"]) == ([True] * 6, [])
    assert root.listVPCs(id=believed["vpc"], listall="true") == {}
