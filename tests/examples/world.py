"""The world in which the examples of the API run."""

from __future__ import annotations

import base64
import datetime as dt
import os
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from manager import db
from manager import models as m
from manager.api import oauth_login
from manager.app import create_app
from manager.config import settings
from manager.models import Account, NetworkOffering, UsageJob, UsageRecord, meters
from manager.servers import VERSION
from tests.client import Api, Caller
from tests.examples.runner import World
from tests.factories import Factory
from tests.unit.api.live_cloud import live_cloud

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0rVyWJYpN4bH0lOq2m1m6m1uAqUm7Qf2m8sVwq0b6H me@here"
AGENT_KEY = base64.b64encode(bytes(range(32))).decode()
USER_AGENT = "CloudStack client"
USED_DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""The day whose usage is in records. That of the scenarios' own time differs in each run."""
FOR_EVER = 4e9


def make(engine: Engine, directory: Path) -> World:
    """Two simulated hosts in zone z1 (the second disabled), the tenant `tenant` with net1, a template that is ready."""
    api = Api(create_app(engine), Caller.of(engine, "admin"))
    api.client.environ_base["HTTP_USER_AGENT"] = USER_AGENT
    cloud, tenant = live_cloud(Factory(engine), directory)
    names = {
        "zone": cloud.zone_id, "pod": cloud.pod_id, "cluster": cloud.cluster_id, "host": cloud.hosts[0],
        "host2": cloud.hosts[1], "template": cloud.template_id, "offering": cloud.offering_id,
        "network": cloud.network_id, "physicalnetwork": cloud.physical_id, "ostype": cloud.os_type_id,
        "account": tenant.account.name, "accountid": tenant.account.id, "user": tenant.user.id,
        "admin": api.admin.user.id, "apikey": tenant.key, "secretkey": tenant.secret, "publickey": PUBLIC_KEY,
        "agentkey": AGENT_KEY, "program": _program(directory),
    }  # fmt: skip
    with db.transaction(engine) as session:
        names["domain"] = session.get_one(Account, tenant.account.id).domain_id
        names["networkoffering"] = session.scalars(select(NetworkOffering.id).filter_by(availability="Required")).one()
        names["role"] = session.scalars(select(m.Role.id).filter_by(live="user")).one()
        for name, model in (("pool", m.StoragePool), ("store", m.ImageStore), ("range", m.VlanIpRange)):
            names[name] = session.scalars(select(model.id).order_by(model.created).limit(1)).one()
        _use(session, names)
        _redeem(session, names)
        _servers(session, names)
    api("updateHost", id=names["host2"], allocationstate="Disable")  # which of two takes a machine is chance
    return World(api, cloud, {"admin": api.admin, "tenant": tenant}, names)


def _servers(session: Session, names: dict[str, str]) -> None:
    """Two management servers that beat for ever, and one that ended long ago."""
    machine = {"version": VERSION, "kernel": "6.1.0-40-amd64", "distribution": "Debian GNU/Linux 12 (bookworm)",
               "booted": USED_DAY, "started": USED_DAY + dt.timedelta(hours=1)}  # fmt: skip
    facts = {"processors": 4, "memory_total": 8 * 2**30, "memory_free": 5 * 2**30, "collected": 1767229200}
    for number, seen in enumerate((FOR_EVER, FOR_EVER, 0.0), start=1):
        name, address = f"manager{number}", f"192.0.2.{number}"
        row = m.ManagementServer(name=name, live=name, address=address, last_seen=seen, facts=facts, **machine)
        session.add(row)
        session.flush()
        names[name] = row.id


def _program(directory: Path) -> str:
    """A program in the directory of extensions, by its path there."""
    place = directory / "extensions"
    place.mkdir(mode=0o755)
    (place / "backup").write_text("""#!/bin/sh\necho '{"printmessage": true, "message": "1 snapshot was made"}'\n""")
    (place / "backup").chmod(0o755)
    os.environ["PILEUS_EXTENSIONS_DIRECTORY"] = str(place)
    settings.cache_clear()
    return "backup"


def _use(session: Session, names: dict[str, str]) -> None:
    """Records of a day on which the tenant's template was kept for 24 hours."""
    end = USED_DAY + dt.timedelta(days=1)
    job = UsageJob(begun=USED_DAY.timestamp(), until=end.timestamp(), host_name="manager1")
    session.add(job)
    session.flush()
    facts = {"name": "tiny", "size": 2**30, "virtual_size": 2**31}
    session.add(UsageRecord(
        job_id=job.id, type=meters.TEMPLATE, account_id=names["accountid"], zone_id=names["zone"],
        resource_id=names["template"], facts=facts, started=USED_DAY, ended=end, raw=24.0,
    ))  # fmt: skip


def _redeem(session: Session, names: dict[str, str]) -> None:
    """A provider that has redeemed a code of the tenant's."""
    session.get_one(m.User, names["user"]).email = "tenant@example.org"
    provider = m.OauthProvider(
        name="corp", description="Our directory", issuer="https://login.example.org/realms/corp", client_id="pileus",
        secret_key="-", redirect_uri="https://cloud.example.org/client/oauth/corp/callback", live="corp",
    )  # fmt: skip
    session.add(provider)
    session.flush()
    oauth_login.keep(session, provider, "the-code", "tenant@example.org")
