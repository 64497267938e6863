"""`./dev bench list_vms`: what listVirtualMachines of many VMs costs the server, through HTTP, over PostgreSQL.

The processor time is that of the API's and PostgreSQL's processes, the median of some rounds of calls one after the
other by a tenant that owns all the VMs; the client's own is reported apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

from devcloud.management import Keys
from manager import db
from manager.config import settings
from manager.models import Host, Network, Nic, ServiceOffering, Tag, Template, Vm, Zone, new_id
from tests.bench.measure import Cost, Meter, pace
from tests.bench.site import Site
from tests.bench.wire import Client
from tests.client import Caller
from tests.factories import Factory

ROUNDS = 5
CALLS = 10


def fill(factory: Factory, count: int) -> Caller:
    """`count` running VMs of one tenant on ten hosts, a NIC each and a tag at every tenth."""
    caller = Caller.of(factory.engine, factory.user("tenant").username)
    zone, offering, template = factory(Zone), factory(ServiceOffering), factory(Template, state="Ready")
    network = factory(Network, zone_id=zone.id, account_id=caller.account.id)
    hosts = [factory(Host, zone_id=zone.id) for _ in range(10)]
    with db.transaction(factory.engine) as session:
        for number in range(10_000, 10_000 + count):
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


def run_round(meter: Meter, client: Client, count: int) -> Cost:
    before = meter.read()
    for _ in range(CALLS):
        assert len(client("listVirtualMachines")["virtualmachine"]) == count
    return meter.read().since(before)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench list_vms", description=__doc__)
    parser.add_argument("--vms", type=int, default=500, help="how many VMs are listed (default 500)")
    parser.add_argument("--port", type=int, default=18080, help="of the API (default 18080)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench"), help="where its files lie")
    options = parser.parse_args()
    with Site(options.state, options.port, hosts=1) as site:
        os.environ |= site.simulator.management.environment()
        settings.cache_clear()
        caller = fill(Factory(db.engine()), options.vms)
        db.engine().dispose()
        client = Client(options.port, Keys(caller.key, caller.secret))
        run_round(site.meter, client, options.vms)
        site.meter.connection.execute("/* bench */ ANALYZE")
        slow = pace()
        rounds = [run_round(site.meter, client, options.vms) for _ in range(ROUNDS)]
        slow = (slow + pace()) / 2

    def each(values: list[float], digits: int = 4) -> float:
        return round(statistics.median(values) / CALLS, digits)

    found = {
        "vms": options.vms,
        "cpu_seconds": each([cost.cpu["api"] + cost.cpu["postgresql"] for cost in rounds]),
        "api_cpu_seconds": each([cost.cpu["api"] for cost in rounds]),
        "statements": each([cost.statements for cost in rounds], 1),
        "seconds": each([cost.at for cost in rounds]),
        "client_cpu_seconds": each([cost.client_cpu for cost in rounds]),
        "pace": round(slow, 4),
    }
    print(
        f"\nlistVirtualMachines of {found['vms']}: {found['cpu_seconds']} CPU seconds of the server (the API's part "
        f"{found['api_cpu_seconds']}), {found['statements']} statements, {found['seconds']} s; the client's CPU "
        f"{found['client_cpu_seconds']} s; fixed Python work beside it {found['pace']} s"
    )
    print(json.dumps({"benchmark": "list_vms", **found}))


if __name__ == "__main__":
    main()
