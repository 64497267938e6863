"""A whole cloud in one process: real database, real engine, real agents over simulator drivers.

Messages go through Celery's in-memory transport and are carried by hand, so that a test can lose, double or
reorder them, and kill whoever handles one.
"""

from __future__ import annotations

import contextlib
import importlib
import random
from pathlib import Path
from typing import Any

from kombu import Connection
from sqlalchemy import func, select, update

from agents.bus import ANSWERS, REPORTS, Message, queue, send
from agents.config import AgentConfig
from agents.contract import HostReport
from agents.envelope import load_key, make_key, public_key, public_text
from agents.host.build import build_host
from agents.main import HANDLER_MODULES
from agents.runner import Runner
from manager import celery_app, messages, reports
from manager.db import transaction
from manager.models import (
    Account,
    Agent,
    AgentCommandRow,
    Cluster,
    Domain,
    Host,
    ImageStore,
    Network,
    NetworkOffering,
    Nic,
    OsType,
    PacketCapture,
    PhysicalNetwork,
    Pod,
    PublicAddress,
    ResourceUse,
    Role,
    Router,
    ServiceOffering,
    StoragePool,
    Template,
    TrafficType,
    VlanIpRange,
    Vm,
    Volume,
    WorkflowRow,
    Zone,
    new_id,
    utcnow,
)
from manager.placement import limits
from manager.placement.address import add_nic
from manager.placement.tunnel_key import take_key
from manager.seed import seed
from manager.workflows import engine, extensions, sweep
from manager.workflows.network import delete_network
from manager.workflows.numbers import next_number
from manager.workflows.template import register_template
from manager.workflows.vm import deploy_vm, destroy_vm, start_vm, stop_vm

GIB = 2**30
MIB = 2**20
ROUNDS = 400

reports.LINGER_SECONDS = 0.0  # messages are carried one by one here; none comes meanwhile


class Killed(BaseException):
    """The process that handled a message was killed there."""


class Cloud:
    """Two simulated hosts in one zone, a tenant, a network that is not implemented yet, a ready template."""

    def __init__(self, directory: Path, hosts: int = 2) -> None:
        self.directory = directory
        self.runners: dict[str, Runner] = {}
        self.random = random.Random(7)
        for module in HANDLER_MODULES:
            importlib.import_module(module)
        self._make_zone()
        self.hosts = [self._make_host(number) for number in range(1, hosts + 1)]
        self._make_offerings()
        self.settle()

    # --- making ---

    def _make_zone(self) -> None:
        with transaction() as s:
            seed(s)
            zone = Zone(id=new_id(), name="z1", dns1="192.0.2.53", internal_dns1="192.0.2.53")
            role = Role(id=new_id(), name="User", type="User")
            domain = Domain(id=new_id(), name="ROOT", path="/")
            s.add_all([zone, role, domain])
            s.flush()
            pod = Pod(zone_id=zone.id, name="p1", gateway="192.0.2.1", netmask="255.255.255.0", start_ip="192.0.2.2")
            account = Account(number=999, name="tenant", domain_id=domain.id, type=0, role_id=role.id)
            physical = PhysicalNetwork(zone_id=zone.id, name="ph1", state="Enabled")
            s.add_all([pod, account, physical])
            s.flush()
            s.add(ResourceUse(account_id=account.id))
            cluster = Cluster(zone_id=zone.id, pod_id=pod.id, name="c1", hypervisor="Simulator")
            public = VlanIpRange(
                zone_id=zone.id, physical_network_id=physical.id, gateway="198.51.100.1", netmask="255.255.255.0",
                start_ip="198.51.100.10", end_ip="198.51.100.19",
            )  # fmt: skip
            s.add_all([cluster, public, TrafficType(physical_network_id=physical.id, traffic_type="Public")])
            s.flush()
            for last in range(10, 20):
                address = PublicAddress(id=new_id(), zone_id=zone.id, range_id=public.id, mac=f"06:00:00:00:00:{last}",
                                        address=f"198.51.100.{last}")  # fmt: skip
                s.add(address)
            self.zone_id, self.pod_id, self.cluster_id = zone.id, pod.id, cluster.id
            self.account_id, self.physical_id = account.id, physical.id

    def _agent(self, kind: str, number: int) -> tuple[Agent, Path]:
        key = self.directory / f"{kind}{number}" / "agent.pem"
        make_key(key)
        return Agent(
            id=new_id(), kind=kind, public_key=public_text(load_key(key)), broker_user=f"{kind}{number}",
            broker_password="secret",
        ), key  # fmt: skip

    def _make_host(self, number: int) -> str:
        agent, key = self._agent("host", number)
        with transaction() as s:
            s.add(agent)
            s.flush()
            host = Host(
                id=new_id(), zone_id=self.zone_id, pod_id=self.pod_id, cluster_id=self.cluster_id, agent_id=agent.id,
                name=f"h{number}", url=f"http://h{number}", hypervisor="Simulator",
            )  # fmt: skip
            s.add(host)
            s.flush()
            s.add(StoragePool(
                zone_id=self.zone_id, pod_id=self.pod_id, cluster_id=self.cluster_id, host_id=host.id, scope="HOST",
                name=f"pool{number}", driver="simulator", url="", path=str(self.directory / f"pool{number}"),
                capacity=100 * GIB,
            ))  # fmt: skip
        self._run_agent(agent, host.id, key, number)
        return host.id

    def _run_agent(self, agent: Agent, subject_id: str, key: Path, number: int) -> None:
        home = key.parent
        config = AgentConfig(
            agent_id=agent.id, kind=agent.kind, subject_id=subject_id, broker_url="memory://",
            manager_public_key=public_text(messages.signing_key()), private_key_file=str(key),
            journal=str(home / "journal.db"), state_dir=str(home), hypervisor="simulator",
            underlay_address=f"192.0.2.{100 + number}", hostname=f"h{number}",
        )  # fmt: skip
        host = build_host(config)
        keys = (load_key(key), public_key(config.manager_public_key))
        runner = Runner(agent.id, host, host.journal, keys, self._send_answer)
        self.runners[agent.id] = runner
        if agent.kind == "host":
            host.switch.ensure_bridges()
            report = runner.report("heartbeat", HostReport("i1", 1, host.facts()))
            send(celery_app.app(), [Message(REPORTS, "manager.report", (report,))])

    def _send_answer(self, envelope: Any) -> None:
        send(celery_app.app(), [Message(ANSWERS, "manager.answers", ([envelope],))])

    def _make_offerings(self) -> None:
        agent, key = self._agent("image_store", 0)
        with transaction() as s:
            s.add(agent)
            s.flush()
            store = ImageStore(zone_id=self.zone_id, agent_id=agent.id, name="secondary", driver="simulator", url="",
                               path=str(self.directory / "secondary"))  # fmt: skip
            s.add(store)
            s.flush()
            os_type = s.scalars(select(OsType.id)).first()
            template = Template(
                name="tiny", display_text="tiny", account_id=self.account_id, zone_id=self.zone_id,
                image_store_id=store.id, os_type_id=os_type, hypervisor="Simulator", format="QCOW2",
                url="http://images.example/tiny.qcow2",
            )  # fmt: skip
            offering = ServiceOffering(name="tiny", display_text="tiny", cpus=1, cpu_mhz=500, memory=64 * MIB)
            s.add_all([template, offering])
            s.flush()
            limits.claim(s, s.get_one(Account, self.account_id), templates=1)
            register_template.start(s, template)
            self.template_id, self.offering_id = template.id, offering.id
            self.os_type_id = str(os_type)
        self._run_agent(agent, store.id, key, 0)
        self.network_id = self.add_network("net1")

    def add_network(self, name: str) -> str:
        with transaction() as s:
            account = s.get_one(Account, self.account_id)
            limits.claim(s, account, networks=1)
            network_id = new_id()
            physical = s.get_one(PhysicalNetwork, self.physical_id)
            s.add(Network(
                id=network_id, name=name, display_text=name, account_id=account.id, zone_id=self.zone_id,
                offering_id=s.scalars(select(NetworkOffering.id).filter_by(availability="Required")).one(),
                physical_network_id=physical.id,
                key=take_key(s, physical, network_id), cidr="10.1.1.0/24", gateway="10.1.1.1",
                netmask="255.255.255.0", network_domain="tenant.example",
            ))  # fmt: skip
        return network_id

    def deploy(self, name: str = "vm", network_id: str = "") -> str:
        with transaction() as s:
            account = s.get_one(Account, self.account_id)
            template = s.get_one(Template, self.template_id)
            disk = template.size or GIB
            limits.claim(s, account, vms=1, cpus=1, memory=64 * MIB, volumes=1, primary_storage=disk)
            number = next_number(s, "vm")
            vm = Vm(
                number=number, name=name, display_name=name, instance_name=f"i-7-{number}-VM", account_id=account.id,
                zone_id=self.zone_id, template_id=template.id, service_offering_id=self.offering_id,
                os_type_id=self.os_type_id, hypervisor="Simulator", cpus=1, cpu_mhz=500, memory=64 * MIB,
            )  # fmt: skip
            s.add(vm)
            s.flush()
            s.add(Volume(name=f"ROOT-{number}", account_id=account.id, zone_id=self.zone_id, vm_id=vm.id,
                         template_id=template.id, size=disk))  # fmt: skip
            add_nic(s, s.get_one(Network, network_id or self.network_id), vm_id=vm.id)
            deploy_vm.start(s, vm)
            return vm.id

    def destroy(self, vm_id: str) -> str:
        with transaction() as s:
            return destroy_vm.start(s, s.get_one(Vm, vm_id), expunge=True, forced=True).id

    def stop(self, vm_id: str) -> str:
        with transaction() as s:
            return stop_vm.start(s, s.get_one(Vm, vm_id), forced=True).id

    def start(self, vm_id: str) -> str:
        with transaction() as s:
            return start_vm.start(s, s.get_one(Vm, vm_id)).id

    def delete_network(self, network_id: str = "") -> str:
        with transaction() as s:
            return delete_network.start(s, s.get_one(Network, network_id or self.network_id)).id

    # --- carrying messages ---

    @property
    def queues(self) -> list[str]:
        return [celery_app.ORCHESTRATOR, ANSWERS, REPORTS, *(f"agent.{agent_id}" for agent_id in self.runners)]

    def take_messages(self) -> list[tuple[str, str, list[Any]]]:
        """All calls that wait, as (queue, task, arguments); those of one message stand after each other."""
        found = []
        with celery_app.app().connection_for_read() as connection:
            for name in self.queues:
                found += self._drain(connection, name)
        return found

    def _drain(self, connection: Connection, name: str) -> list[tuple[str, str, list[Any]]]:
        found = []
        source = queue(name)(connection.default_channel)
        source.declare()
        while (message := source.get(no_ack=True)) is not None:
            found += [(name, message.headers["task"], [argument]) for argument in message.payload[0]]
        return found

    def handle(self, place: str, task: str, arguments: list[Any]) -> None:
        if task == "manager.advance":
            engine.advance(*arguments)
        elif place.startswith("agent."):
            self.runners[place.removeprefix("agent.")].receive(*arguments)
        else:
            (reports.take_answers if place == ANSWERS else reports.take)(*arguments)

    def settle(self, times: int = 1, *, shuffle: bool = False, lose: float = 0.0) -> None:
        """Carry messages until none waits and no workflow is open; each `times` times, maybe in another order.

        `lose` is the share of messages that is lost; time then passes, and the sweeper rings again.
        """
        for _ in range(ROUNDS):
            batch = self.take_messages()
            if not batch:
                if not self.open_workflows():
                    return
                self.pass_time()
                continue
            kept = [message for message in batch if self.random.random() >= lose] * times
            if shuffle:
                self.random.shuffle(kept)
            for message in kept:
                self.handle(*message)
        raise AssertionError(f"not settled: {self.describe_open()}")

    def settle_killed(self) -> None:
        """As settle, where handlers are killed on the way; time passes and they are asked again."""
        for _ in range(ROUNDS):
            batch = self.take_messages()
            if not batch and not self.open_workflows():
                return
            for message in batch:
                with contextlib.suppress(Killed):
                    self.handle(*message)
            if not batch:
                self.pass_time()
        raise AssertionError(f"not settled: {self.describe_open()}")

    def pass_time(self) -> None:
        """Everything that waits for its time is due; the sweeper and a runner of custom actions come by."""
        with transaction() as s:
            s.execute(update(WorkflowRow).where(WorkflowRow.wake_at.is_not(None)).values(wake_at=0))
            s.execute(update(AgentCommandRow).values(due_at=0))
            s.execute(update(PacketCapture).where(PacketCapture.state == "Capturing").values(ends=utcnow()))
        sweep.sweep()
        extensions.run_next("manager1")

    # --- looking ---

    def open_workflows(self) -> list[str]:
        with transaction() as s:
            return list(s.scalars(select(WorkflowRow.id).filter_by(status="running")))

    def describe_open(self) -> list[str]:
        with transaction() as s:
            rows = s.scalars(select(WorkflowRow).where(WorkflowRow.status.in_(("running", "stuck")))).all()
            return [f"{r.name} {r.status} at {r.position} undoing={r.undoing} {r.error}" for r in rows]

    def get(self, model: type[Any], key: str) -> Any:
        with transaction() as s:
            return s.get(model, key)

    def workflow(self, subject_id: str, name: str) -> WorkflowRow:
        with transaction() as s:
            return s.scalars(select(WorkflowRow).filter_by(subject_id=subject_id, name=name)).one()

    def domains(self) -> dict[str, str]:
        """State by VM id of all domains on all hosts; a VM that is on two hosts is an error."""
        found: dict[str, str] = {}
        for runner in self.runners.values():
            for domain in runner.host.hypervisor.domains() if runner.host.hypervisor else ():
                assert domain.vm_id not in found, f"{domain.vm_id} is on two hosts"
                found[domain.vm_id] = domain.state
        return found

    def leftovers(self) -> dict[str, Any]:
        """What hosts and counters still hold; all empty or zero after everything is gone."""
        hosts = [r.host for r in self.runners.values() if r.host.hypervisor]
        inventories = [host.inventory() for host in hosts]
        with transaction() as s:
            use = s.get_one(ResourceUse, self.account_id)
            return {
                "domains": [d.vm_id for i in inventories for d in i.domains],
                "volumes": [v for i in inventories for v in i.volumes],
                "ports": [p for i in inventories for p in i.ports],
                "routers": [r for i in inventories for r in i.routers],
                "networks": [n.network_id for i in inventories for n in i.networks],
                "drift": [line for i in inventories for line in i.flow_drift],
                "nics": s.scalar(select(func.count()).select_from(Nic)),
                "living routers": s.scalar(select(func.count()).select_from(Router).where(Router.removed.is_(None))),
                "host claims": s.execute(select(func.sum(Host.cpu_used + Host.memory_used))).scalar(),
                "pool claims": s.execute(select(func.sum(StoragePool.allocated))).scalar(),
                "public": s.scalar(
                    select(func.count()).select_from(PublicAddress).where(PublicAddress.network_id.is_not(None))
                ),
                "use": (use.vms, use.cpus, use.memory, use.volumes, use.primary_storage, use.networks),
            }
