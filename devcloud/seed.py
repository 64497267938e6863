"""Fills a fresh cloud through its public API. Every function looks for the thing by name before it makes it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs import CloudStack

from devcloud.management import Keys, write_secret
from devcloud.processes import NotReadyError

TENANTS = ("tenant1", "tenant2")
USER_ACCOUNT = 0
DEVICES = {
    "srx": ("JuniperSRX", "SrxFirewall", "JuniperSRXFirewall", "privateinterface=ge-0/0/1"),
    "netscaler": ("Netscaler", "NetscalerLoadBalancer", "NetscalerVPXLoadBalancer", "privateinterface=1/2"),
}
"""Provider, noun of the commands, kind and the port for tenants of each of DevCloud's hardware devices."""
OFFERINGS = {"tiny": (1, 500, 128), "small": (1, 1000, 256)}
READY_SECONDS = 300.0
PAGE = 500
Entity = dict[str, Any]


@dataclass(frozen=True)
class PublicRange:
    """Addresses of the public network that routers may have."""

    gateway: str
    netmask: str
    first: str
    last: str


class Seed:
    """What one zone needs, on hosts of one kind (`KVM` or `Simulator`)."""

    def __init__(self, endpoint: str, keys: Keys, hypervisor: str) -> None:
        self.client = CloudStack(endpoint=endpoint, key=keys.apikey, secret=keys.secretkey, timeout=30)
        self.hypervisor = hypervisor

    def call(self, command: str, **parameters: Any) -> Any:
        """The answer of `command`, that of its job when it starts one. :raises CloudStackException: it was refused."""
        return getattr(self.client, command)(fetch_result=True, **parameters)

    def find(self, command: str, key: str, label: str, value: str, /, **parameters: Any) -> Entity | None:
        """The entity under `key` in the answer of a list command whose field `label` is `value`."""
        found = self.call(command, **parameters).get(key, [])
        return next((one for one in found if one.get(label) == value), None)

    def ids(self, command: str, key: str, **parameters: Any) -> dict[str, str]:
        """The ids of all entities that a list command shows, page by page, by name."""
        found: dict[str, str] = {}
        page = 1
        while shown := self.call(command, page=page, pagesize=PAGE, **parameters).get(key, []):
            found |= {one["name"]: one["id"] for one in shown}
            page += 1
        return found

    def zone(self, name: str, dns: str) -> str:
        zone = self.find("listZones", "zone", "name", name)
        if zone is None:
            made = {"networktype": "Advanced", "localstorageenabled": "true", "guestcidraddress": "10.1.1.0/24"}
            zone = self.call("createZone", name=name, dns1=dns, internaldns1=dns, **made)["zone"]
        return str(zone["id"])

    def enable_zone(self, zone_id: str) -> None:
        zone = self.find("listZones", "zone", "id", zone_id)
        if zone is None or zone.get("allocationstate") != "Enabled":
            self.call("updateZone", id=zone_id, allocationstate="Enabled")

    def physical_network(self, zone_id: str, public_label: str) -> str:
        """The network that carries guests in GRE and the public addresses on the bridge `public_label`."""
        name = "physical"
        network = self.find("listPhysicalNetworks", "physicalnetwork", "name", name, zoneid=zone_id)
        if network is None:
            made = self.call("createPhysicalNetwork", zoneid=zone_id, name=name, isolationmethods="GRE")
            network = made["physicalnetwork"]
        network_id = str(network["id"])
        for kind, label in (("Guest", ""), ("Public", public_label), ("Management", "")):
            there = self.find("listTrafficTypes", "traffictype", "traffictype", kind, physicalnetworkid=network_id)
            if there is None:
                more = {"kvmnetworklabel": label} if label else {}
                self.call("addTrafficType", physicalnetworkid=network_id, traffictype=kind, **more)
        if network.get("state") != "Enabled":
            self.call("updatePhysicalNetwork", id=network_id, state="Enabled")
        return network_id

    def public_range(self, zone_id: str, network_id: str, addresses: PublicRange) -> None:
        if self.find("listVlanIpRanges", "vlaniprange", "startip", addresses.first, zoneid=zone_id):
            return
        self.call(
            "createVlanIpRange",
            zoneid=zone_id,
            physicalnetworkid=network_id,
            forvirtualnetwork="true",
            vlan="untagged",
            gateway=addresses.gateway,
            netmask=addresses.netmask,
            startip=addresses.first,
            endip=addresses.last,
        )

    def pod(self, zone_id: str, addresses: PublicRange) -> str:
        pod = self.find("listPods", "pod", "name", "pod1", zoneid=zone_id)
        if pod is None:
            network = {"gateway": addresses.gateway, "netmask": addresses.netmask}
            ends = {"startip": addresses.first, "endip": addresses.last}
            pod = self.call("createPod", zoneid=zone_id, name="pod1", **network, **ends)["pod"]
        return str(pod["id"])

    def cluster(self, zone_id: str, pod_id: str) -> str:
        cluster = self.find("listClusters", "cluster", "name", "cluster1", zoneid=zone_id)
        if cluster is None:
            place = {"zoneid": zone_id, "podid": pod_id, "hypervisor": self.hypervisor}
            made = self.call("addCluster", clustername="cluster1", clustertype="CloudManaged", **place)
            cluster = made["cluster"][0]
        return str(cluster["id"])

    def image_store(self, zone_id: str, url: str, public_key: str) -> str:
        store = self.find("listImageStores", "imagestore", "name", "secondary", zoneid=zone_id)
        if store is None:
            details = [{"key": "publickey", "value": public_key}]
            where = {"zoneid": zone_id, "provider": "Directory", "url": url}
            store = self.call("addImageStore", name="secondary", details=details, **where)["imagestore"]
        return str(store["id"])

    def host(self, name: str, cluster: Entity, public_key: str) -> str:
        """`cluster` holds zoneid, podid and clusterid."""
        host = self.find("listHosts", "host", "name", name, type="Routing", name=name, zoneid=cluster["zoneid"])
        return str(host["id"]) if host is not None else self.add_host(name, cluster, public_key)

    def add_host(self, name: str, cluster: Entity, public_key: str) -> str:
        details = [{"publickey": public_key}]
        login = {"username": "", "password": ""}
        made = self.call(
            "addHost", url=f"http://{name}", hypervisor=self.hypervisor, details=details, **login, **cluster
        )
        return str(made["host"][0]["id"])

    def pool(self, name: str, host_id: str, cluster: Entity, url: str, capacity: int) -> None:
        """Primary storage of `capacity` bytes that only one host has."""
        there = self.find("listStoragePools", "storagepool", "name", name, name=name, zoneid=cluster["zoneid"])
        if there is None:
            self.add_pool(name, host_id, cluster, url, capacity)

    def add_pool(self, name: str, host_id: str, cluster: Entity, url: str, capacity: int) -> None:
        place = {"scope": "HOST", "hostid": host_id, **cluster}
        self.call("createStoragePool", name=name, url=url, capacitybytes=capacity, **place)

    def device(self, name: str, url: str, login: dict[str, str]) -> None:
        """A hardware device, with its provider; `login` holds what the command wants besides url and kind."""
        provider, noun, kind, option = DEVICES[name]
        network = login["physicalnetworkid"]
        there = self.find("listNetworkServiceProviders", "networkserviceprovider", "name", provider,
                          physicalnetworkid=network)  # fmt: skip
        if there is None:
            made = self.call("addNetworkServiceProvider", name=provider, physicalnetworkid=network)
            there = made["networkserviceprovider"]
        if there.get("state") != "Enabled":
            self.call("updateNetworkServiceProvider", id=there["id"], state="Enabled")
        address = url.removeprefix("https://")
        if self.find(f"list{noun}s", noun.lower(), "ipaddress", address, physicalnetworkid=network) is None:
            self.call(f"add{noun}", url=f"{url}?{option}", networkdevicetype=kind, **login)

    def offerings(self) -> None:
        for name, (cpus, mhz, mib) in OFFERINGS.items():
            if self.find("listServiceOfferings", "serviceoffering", "name", name) is None:
                size = {"cpunumber": cpus, "cpuspeed": mhz, "memory": mib, "storagetype": "local"}
                self.call("createServiceOffering", name=name, displaytext=f"{cpus} CPU, {mib} MiB", **size)

    def template(self, name: str, zone_id: str, url: str, checksum: str) -> None:
        template = self._template(name, zone_id)
        if template is None:
            kinds = self.call("listOsTypes").get("ostype", [])
            linux = next((kind for kind in kinds if "Linux (64-bit)" in kind.get("description", "")), kinds[0])
            self.call(
                "registerTemplate",
                name=name,
                displaytext="Tiny Linux of DevCloud",
                format="QCOW2",
                hypervisor=self.hypervisor,
                url=url,
                zoneid=zone_id,
                ostypeid=linux["id"],
                checksum=checksum,
                ispublic="true",
                isfeatured="true",
                passwordenabled="true",
            )

    def wait_for_hosts(self, zone_id: str, count: int) -> None:
        """:raises NotReadyError: fewer than `count` hosts are up in time"""

        def up() -> bool:
            found = self.call("listHosts", type="Routing", state="Up", zoneid=zone_id, page=1, pagesize=1)
            return int(found.get("count", 0)) >= count

        self._wait(up, f"{count} hosts")

    def wait_for_template(self, name: str, zone_id: str) -> None:
        """:raises NotReadyError: it is not ready in time; the message tells its status"""

        def ready() -> bool:
            return bool((self._template(name, zone_id) or {}).get("isready"))

        try:
            self._wait(ready, f"Template {name}")
        except NotReadyError as error:
            status = (self._template(name, zone_id) or {}).get("status", "it is not listed")
            raise NotReadyError(f"{error} Its status: {status}") from error

    def tenants(self, kept: Path) -> dict[str, Keys]:
        """Accounts with their keys, which `kept` holds between runs."""
        known = json.loads(kept.read_text()) if kept.exists() else {}
        keys = {name: self._tenant(name, known.get(name, {})) for name in TENANTS}
        text = json.dumps({name: vars(one) for name, one in keys.items()}, indent=1)
        if not kept.exists() or kept.read_text() != text:
            write_secret(kept, text)
        return keys

    def _tenant(self, name: str, known: dict[str, str]) -> Keys:
        account = self.find("listAccounts", "account", "name", name, listall="true")
        if account is None:
            person = {"username": name, "firstname": name, "lastname": "DevCloud", "email": f"{name}@cloud.test"}
            password = secrets.token_urlsafe(12)
            made = self.call("createAccount", account=name, accounttype=USER_ACCOUNT, password=password, **person)
            account = made["account"]
        user = account["user"][0]
        if known and user.get("apikey") == known["apikey"]:
            return Keys(**known)
        made = self.call("registerUserKeys", id=user["id"])["userkeys"]
        return Keys(made["apikey"], made["secretkey"])

    def _template(self, name: str, zone_id: str) -> Entity | None:
        return self.find("listTemplates", "template", "name", name, templatefilter="all", zoneid=zone_id)

    @staticmethod
    def _wait(ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise NotReadyError(f"{what} not ready after {READY_SECONDS:.0f} seconds.")
            time.sleep(0.5)
