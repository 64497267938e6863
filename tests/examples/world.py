"""The world in which the examples of the API run."""

from __future__ import annotations

import base64
from pathlib import Path

from sqlalchemy import Engine, select

from manager import db
from manager import models as m
from manager.app import create_app
from manager.models import Account, NetworkOffering
from tests.client import Api, Caller
from tests.examples.runner import World
from tests.factories import Factory
from tests.unit.api.live_cloud import live_cloud

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0rVyWJYpN4bH0lOq2m1m6m1uAqUm7Qf2m8sVwq0b6H me@here"
AGENT_KEY = base64.b64encode(bytes(range(32))).decode()


def make(engine: Engine, directory: Path) -> World:
    """Two simulated hosts in zone z1 (the second disabled), the tenant `tenant` with net1, a template that is ready."""
    api = Api(create_app(engine), Caller.of(engine, "admin"))
    cloud, tenant = live_cloud(Factory(engine), directory)
    names = {
        "zone": cloud.zone_id, "pod": cloud.pod_id, "cluster": cloud.cluster_id, "host": cloud.hosts[0],
        "host2": cloud.hosts[1], "template": cloud.template_id, "offering": cloud.offering_id,
        "network": cloud.network_id, "physicalnetwork": cloud.physical_id, "ostype": cloud.os_type_id,
        "account": tenant.account.name, "accountid": tenant.account.id, "user": tenant.user.id,
        "admin": api.admin.user.id, "apikey": tenant.key, "secretkey": tenant.secret, "publickey": PUBLIC_KEY,
        "agentkey": AGENT_KEY,
    }  # fmt: skip
    with db.transaction(engine) as session:
        names["domain"] = session.get_one(Account, tenant.account.id).domain_id
        names["networkoffering"] = session.scalars(select(NetworkOffering.id)).one()
        names["role"] = session.scalars(select(m.Role.id).filter_by(live="user")).one()
        for name, model in (("pool", m.StoragePool), ("store", m.ImageStore), ("range", m.VlanIpRange)):
            names[name] = session.scalars(select(model.id).order_by(model.created).limit(1)).one()
    api("updateHost", id=names["host2"], allocationstate="Disable")  # which of two takes a machine is chance
    return World(api, cloud, {"admin": api.admin, "tenant": tenant}, names)
