"""CPU of listVirtualMachines: `python -m tests.bench.list_vms [VMS]`. The last line is JSON."""

from __future__ import annotations

import base64
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from manager import configuration, db, identity_seed
from manager.app import create_app
from manager.config import settings
from manager.models import Base, Host, Network, Nic, ServiceOffering, Tag, Template, Vm, Zone, new_id
from tests.client import Api, Caller
from tests.factories import Factory
from tests.unit.api.live_cloud import statements

ROUNDS = 15


def prepare(directory: Path) -> None:
    """A fresh database in `directory`, which the environment names afterwards."""
    (directory / "secret.key").write_text(base64.b64encode(os.urandom(32)).decode())
    os.environ["PILEUS_BROKER_URL"] = "memory://"
    os.environ["PILEUS_SECRET_KEY_FILE"] = str(directory / "secret.key")
    os.environ.setdefault("PILEUS_DATABASE_URL", f"sqlite:///{directory / 'bench.db'}")
    settings.cache_clear()
    db.engine.cache_clear()
    configuration.forget()
    Base.metadata.create_all(db.engine())
    with db.transaction() as session:
        identity_seed.keys_of(session, identity_seed.seed(session, password="admin-password").admin)


def fill(factory: Factory, count: int) -> Caller:
    """`count` running VMs of one tenant on ten hosts, a NIC each and a tag at every tenth."""
    caller = Caller.of(factory.engine, factory.user("tenant").username)
    zone, offering, template = factory(Zone), factory(ServiceOffering), factory(Template, state="Ready")
    network = factory(Network, zone_id=zone.id, account_id=caller.account.id)
    hosts = [factory(Host, zone_id=zone.id) for _ in range(10)]
    with db.transaction(factory.engine) as session:
        for number in range(count):
            host_id = hosts[number % len(hosts)].id
            vm = Vm(
                id=new_id(), number=number, name=f"vm-{number}", display_name=f"VM {number}",
                instance_name=f"i-2-{number}-VM", account_id=caller.account.id, zone_id=zone.id, host_id=host_id,
                last_host_id=host_id, template_id=template.id, service_offering_id=offering.id,
                os_type_id=template.os_type_id, hypervisor="Simulator", state="Running", cpus=1, cpu_mhz=500,
                memory=64 * 2**20,
            )  # fmt: skip
            session.add(vm)
            session.flush()
            address = f"10.1.{number // 250}.{number % 250 + 2}"
            mac = f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"
            session.add(Nic(vm_id=vm.id, network_id=network.id, host_id=host_id, mac=mac, address=address))
            if number % 10 == 0:
                session.add(Tag(resource_id=vm.id, key="k", resource_type="UserVm", account_id=caller.account.id))
    return caller


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as directory:
        prepare(Path(directory))
        factory = Factory(db.engine())
        caller = fill(factory, count)
        api = Api(create_app(db.engine()), Caller.of(db.engine(), "admin"))
        took = []
        for _ in range(ROUNDS):
            before = time.process_time()
            assert len(api("listVirtualMachines", caller)["virtualmachine"]) == min(count, 500)
            took.append(time.process_time() - before)
        with statements(db.engine()) as sent:
            api("listVirtualMachines", caller)
        db.engine().dispose()
    sent = [text for text in sent if not text.startswith("BEGIN")]
    figures = {"vms": count, "cpu_seconds": round(statistics.median(took), 4), "statements": len(sent)}
    print(f"{count} VMs: CPU of a call and its client, median {figures['cpu_seconds']} s; {len(sent)} statements")
    print(json.dumps({"benchmark": "list_vms", **figures}))


if __name__ == "__main__":
    main()
