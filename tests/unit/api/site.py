"""A zone with a pod, a cluster and networks, made through the API, and what tests of such places need besides."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from tests.client import Api

RANGE = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.10", "endip": "198.51.100.19"}
POD_RANGE = {"gateway": "192.0.2.1", "netmask": "255.255.255.0", "startip": "192.0.2.10", "endip": "192.0.2.20"}
ZONE = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


def key() -> str:
    """Any 32 bytes are an Ed25519 public key as far as its form goes."""
    return base64.b64encode(os.urandom(32)).decode()


def zone(api: Api, name: str = "z1", **more: Any) -> str:
    return api("createZone", name=name, **{**ZONE, **more})["zone"]["id"]


def pod(api: Api, zone_id: str, name: str = "p1", **more: Any) -> str:
    return api("createPod", zoneid=zone_id, name=name, **{**POD_RANGE, **more})["pod"]["id"]


def cluster(api: Api, zone_id: str, pod_id: str, name: str = "c1", hypervisor: str = "KVM") -> str:
    given = {"clustername": name, "clustertype": "CloudManaged", "hypervisor": hypervisor}
    return api("addCluster", zoneid=zone_id, podid=pod_id, **given)["cluster"][0]["id"]


def physical_network(api: Api, zone_id: str, name: str = "physical", **more: Any) -> str:
    return api("createPhysicalNetwork", zoneid=zone_id, name=name, **more)["id"]


def result(api: Api, answer: dict[str, Any]) -> dict[str, Any]:
    """The result of a job that was done in the call."""
    job = api("queryAsyncJobResult", jobid=answer["jobid"])
    assert job["jobstatus"] == 1, job
    return job["jobresult"]


@dataclass(frozen=True)
class Site:
    api: Api
    zone: str
    pod: str
    cluster: str

    @property
    def place(self) -> dict[str, str]:
        return {"zoneid": self.zone, "podid": self.pod, "clusterid": self.cluster}

    def host(self, name: str = "h1", **more: Any) -> dict[str, Any]:
        given = {"url": f"http://{name}", "hypervisor": "KVM", "username": "", "password": "", **self.place, **more}
        return self.api("addHost", **given, params={"details[0].publickey": key()})["host"][0]


def site(api: Api) -> Site:
    zone_id = zone(api)
    pod_id = pod(api, zone_id)
    return Site(api, zone_id, pod_id, cluster(api, zone_id, pod_id))


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The SQL statements that run inside, those of transactions aside."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def statements_of(engine: Engine, api: Api, command: str, rows: int, **given: Any) -> int:
    """How many statements a list of that many rows takes."""
    api(command, **given)
    with counted(engine) as seen:
        answer = api(command, **given)
    assert answer["count"] == rows
    return len(seen)
