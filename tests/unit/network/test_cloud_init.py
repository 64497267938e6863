"""cloud-init, as Debian has it, in a guest of a virtual router: it believes what the API says of the VM."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from manager import db
from manager.models import Network, Template
from manager.workflows import views
from tests.client import Caller
from tests.clients.conftest import client_python, debian_package  # noqa: F401 - one is a fixture
from tests.unit.api.live_cloud import live_cloud
from tests.unit.network.lab import ROUTERS, sh
from tests.unit.network.routers import revised, router
from tests.unit.network.views import nic
from tests.unit.workflows.cloud import Cloud

USER_DATA = "#cloud-config\npackages: [grüße]\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEfPn0lJ3Ew2b2rwWIDZpXBL0sWrUCP1vVZnkSyNIgHT me@example"
GUEST = nic("a", "1", "host-1")
SCRIPT = """#!/bin/sh
[ -n "$new_ip_address" ] || exit 0
ip address replace $new_ip_address/24 dev $interface
ip route replace default via $new_routers
"""
RESOLVER = """echo "search $new_domain_name" > /etc/resolv.conf
for server in $new_domain_name_servers; do echo "nameserver $server"; done >> /etc/resolv.conf
"""
GUEST_LIFE = """set -e
mount -t tmpfs none /var/lib
mkdir /var/lib/dhcp
: > "$1/resolv.conf"
mount --bind "$1/resolv.conf" /etc/resolv.conf
"$2" -d -1 -lf /var/lib/dhcp/dhclient.eth0.leases -pf "$1/pid" -sf "$1/script" eth0 >&2 &
client=$!
until [ -e "$1/bound" ]; do kill -0 $client; sleep 0.1; done
kill $client
exec "$3" "$4" "$1"
"""
RUNNER = Path(__file__).parents[2] / "clients" / "cloud_init.py"


@dataclass
class Guest:
    """A VM that the manager knows, its place in the lab, and the programs that run there."""

    site: Any
    namespace: str
    folder: Path
    python: Path

    def boot(self, *, with_dns: bool) -> dict[str, Any]:
        """What cloud-init finds out after a lease from a real DHCP client."""
        script, bound = self.folder / "script", self.folder / "bound"
        script.write_text(SCRIPT + (RESOLVER if with_dns else "") + f"touch {bound}\n")
        script.chmod(0o755)
        bound.unlink(missing_ok=True)
        dhclient = debian_package("isc-dhcp-client") / "sbin/dhclient"
        packages = debian_package("cloud-init") / "usr/lib/python3/dist-packages"
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(packages)}
        line = ("sh", "-c", GUEST_LIFE, "guest", str(self.folder), str(dhclient), str(self.python), str(RUNNER))
        said = sh("ip", "netns", "exec", self.namespace, *line, env=environment)
        return json.loads(said.splitlines()[-1])


@pytest.fixture
def cloud_and_user(factory, tmp_path) -> tuple[Cloud, Caller]:
    return live_cloud(factory, tmp_path)


@pytest.fixture
def cloud(cloud_and_user, factory) -> Cloud:
    made, _ = cloud_and_user
    factory.change(made.get(Template, made.template_id), password_enabled=True)
    return made


@pytest.fixture
def user(cloud_and_user) -> Caller:
    return cloud_and_user[1]


@pytest.fixture
def vm(cloud, user, api) -> dict[str, Any]:
    """A running VM as the result of its deployment shows it to its owner, which alone has the password."""
    api("registerSSHKeyPair", user, name="mine", publickey=KEY)
    job = api(
        "deployVirtualMachine",
        user,
        zoneid=cloud.zone_id,
        templateid=cloud.template_id,
        serviceofferingid=cloud.offering_id,
        name="web-1",
        keypair="mine",
        userdata=base64.b64encode(USER_DATA.encode()).decode(),
        networkids=cloud.network_id,
        ipaddress=GUEST.address,
    )
    cloud.settle()
    return api("queryAsyncJobResult", user, jobid=job["jobid"])["jobresult"]["virtualmachine"]


@pytest.fixture
def guest(site, cloud, vm, tmp_path, client_python) -> Guest:  # noqa: F811 - the fixture
    """The lab's guest, with the MAC that the lab gave it; its router serves what the manager would have served."""
    with db.transaction() as session:
        network = session.get_one(Network, cloud.network_id)
        commands = views.picture(session, network.id).commands.values()
    wanted = next(command.router for command in commands if command.router is not None)
    leases = tuple(replace(one, mac=GUEST.mac) for one in wanted.legs[0].leases)
    site.apply(revised(router("a", []), leases=leases, domain=wanted.legs[0].domain))
    namespace = site.guests["a1"]
    sh("ip", "-n", namespace, "address", "flush", "dev", "eth0")
    folder = tmp_path / "guest"
    folder.mkdir()
    return Guest(site, namespace, folder, client_python)


def test_cloud_init_believes_what_the_api_says(guest, vm, api, user):
    found = guest.boot(with_dns=True)
    assert (found["got"], found["router"], found["data_server"]) == (True, "10.1.1.1", "10.1.1.1")
    (shown,) = api("listVirtualMachines", user, id=vm["id"])["virtualmachine"]
    assert found["instance_id"] == shown["id"]
    assert found["hostname"].partition(".")[0] == shown["name"] == "web-1"
    assert found["availability_zone"] == shown["zonename"]
    assert found["metadata"]["local-ipv4"] == shown["nic"][0]["ipaddress"] == GUEST.address
    assert found["metadata"]["service-offering"] == shown["serviceofferingname"]
    data = api("getVirtualMachineUserData", user, virtualmachineid=vm["id"])["virtualmachineuserdata"]
    assert found["user_data"] == base64.b64decode(data["userdata"]).decode() == USER_DATA
    assert shown["keypairs"] == "mine"
    assert found["public_keys"] == [KEY]
    assert vm["password"]
    assert found["config"] == {"ssh_pwauth": True, "password": vm["password"], "chpasswd": {"expire": False}}


def test_password_is_given_once_and_the_router_found_by_its_lease(guest, vm):
    """Without a resolver cloud-init takes the server identifier of the lease."""
    first, second = guest.boot(with_dns=False), guest.boot(with_dns=False)
    assert {(found["router"], found["data_server"]) for found in (first, second)} == {("10.1.1.1", None)}
    assert "dhcp-server-identifier 10.1.1.1;" in first["lease"]
    assert first["config"]["password"] == vm["password"]
    assert second["config"] == {}
    assert second["instance_id"] == first["instance_id"] == vm["id"]
    assert guest.site.daemons(ROUTERS["a"])
