"""The workflow that tells whether one can reach another: by what is wanted, and by what the hosts on the way hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.inquiry import TraceDevice, TraceFlows
from manager.models import Host, Network, Nic, PublicAddress, Router, Vm, WorkflowRow
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.reachability_rules import named_rules
from manager.workflows.views import Picture, present
from network.probe import DeviceTrace, TraceFacts
from network.reachability import values
from network.reachability.values import Leg, Place, Probe, Trail
from network.reachability.walk import from_nic, from_outside, from_outside_to

SENDER, RECEIVER, DEVICE = "sender", "receiver", "device"
PRIMARY = "PRIMARY"


@dataclass(frozen=True, slots=True)
class Question:
    """Who sends (`nic_id`, or "" for the outside) to whom: to an address, or to `to_nic_id` by whatever way there is.

    `network_ids` are the networks that the asker may see into, the sender's first; all others are the outside.
    """

    source: str
    target: str
    protocol: int
    port: int
    icmp_type: int
    icmp_code: int
    network_ids: tuple[str, ...]
    nic_id: str = ""
    to_nic_id: str = ""

    @property
    def probe(self) -> Probe:
        return Probe(
            self.source, self.target, self.protocol, self.port, icmp_type=self.icmp_type, icmp_code=self.icmp_code
        )


def ask_hosts(run: Run) -> Outcome:
    """Answer by what is wanted, and ask the hosts on the way what their switches do."""
    given = {name: value for name, value in run.arguments.items() if name in Question.__dataclass_fields__}
    question = Question(**{**given, "network_ids": tuple(given["network_ids"])})
    pictures = {key: present(run.session, key) for key in question.network_ids}
    places = [_place(run.session, one) for one in pictures.values() if one.commands]
    trail = _missing(run.session, question) or _walk(question, places)
    stops = [*_stops(run.session, trail.legs, pictures), *_devices(run.session, trail.legs, places, pictures)]
    run.note(
        reachable=trail.reachable,
        steps=named_rules(run.session, trail.steps),
        stops=[note for note, _ in stops],
    )
    return [ask for _, ask in stops if ask is not None]


def _missing(session: Session, question: Question) -> Trail | None:
    """A trail that ends at once, when one of the two virtual machines does not run."""
    ids = [one for one in (question.nic_id, question.to_nic_id) if one]
    query = (
        select(Nic.id, Nic.host_id, Vm.id, Vm.name, Vm.state).outerjoin(Vm, Vm.id == Nic.vm_id).where(Nic.id.in_(ids))
    )
    for _, host_id, vm_id, name, state in session.execute(query.order_by(Nic.id)):
        if host_id is None:
            reason = f"The virtual machine {name} is {state}, so no host has its NIC."
            return Trail([values.Step("guest", "virtual machine", False, reason, "VirtualMachine", vm_id)])
    return None


def _place(session: Session, picture: Picture) -> Place:
    """The network as all of its hosts together know it, and as the host of the router that forwards sees it."""
    peers = {peer.host_id: peer for command in picture.commands.values() for peer in command.view.peers}
    routed = {host_id: command for host_id, command in picture.commands.items() if command.router is not None}
    network_id = next(iter(picture.commands.values())).view.id
    host_id, turn = _turn(session, list(routed), network_id) if len(routed) > 1 else (next(iter(routed), ""), "")
    command = routed.get(host_id) or next(iter(picture.commands.values()))
    parts = tuple(part for command in picture.commands.values() for part in command.devices)
    return Place(replace(command.view, peers=tuple(peers.values())), command.router, parts, turn)


def _turn(session: Session, ids: Sequence[str], network_id: str) -> tuple[str, str]:
    """The host of the router that forwards, of the network's two, and a sentence on it."""
    query = select(Router.name, Router.host_id, Router.redundant_state).where(
        Router.network_id == network_id, Router.removed.is_(None)
    )
    rows = session.execute(query.order_by(Router.standby)).all()
    primary = [row for row in rows if row.redundant_state == PRIMARY and row.host_id in ids]
    names = " and ".join(row.name for row in rows)
    if len(primary) == 1:
        return primary[0].host_id, f"Of the redundant routers {names}, {primary[0].name} is primary and forwards."
    told = ", ".join(f"{row.name} {row.redundant_state}" for row in rows)
    return ids[0], f"Which of the redundant routers {names} forwards is not known now; their hosts last told: {told}."


def _walk(question: Question, places: Sequence[Place]) -> Trail:
    if question.nic_id:
        return from_nic(places, question.nic_id, question.probe)
    if question.to_nic_id:
        return from_outside_to(places, question.to_nic_id, question.probe)
    return from_outside(places, question.probe)


def _stops(
    session: Session, legs: Sequence[Leg], pictures: dict[str, Picture]
) -> Iterator[tuple[dict[str, Any], Ask | None]]:
    """The hosts on the way in order: what is known of each, and the command for it unless it is not Up."""
    ends = {nic.host_id for leg in legs for nic in (leg.sender, leg.receiver)}
    hosts = {row.id: row for row in session.execute(select(Host.id, Host.name, Host.state).where(Host.id.in_(ends)))}
    told = select(Network.id, Network.shared_generation).where(Network.id.in_({leg.view.id for leg in legs}))
    generations: dict[str, int] = {row[0]: row[1] for row in session.execute(told)}
    for leg in legs:
        picture = pictures[leg.view.id]
        is_near = leg.sender.host_id == leg.receiver.host_id
        for role in (SENDER,) if is_near or not leg.left else (SENDER, RECEIVER):
            host = hosts.get((leg.sender if role == SENDER else leg.receiver).host_id)
            if host is None:
                continue  # the outside of a flat network
            note = {
                "role": role, "host_id": host.id, "host": host.name, "state": host.state, "network_id": leg.view.id,
                "generation": generations[leg.view.id], "asked": host.state == "Up", "arrives": leg.allowed,
                "receiver_id": leg.receiver.id, "next_host_id": "" if is_near or role == RECEIVER else
                leg.receiver.host_id, "left": leg.left,
            }  # fmt: skip
            command = TraceFlows(picture.commands[host.id].view, leg.frame, leg.sender.id, leg.sender.host_id)
            yield note, Ask(picture.agents[host.id], command) if note["asked"] else None


def _devices(
    session: Session, legs: Sequence[Leg], places: Sequence[Place], pictures: dict[str, Picture]
) -> Iterator[tuple[dict[str, Any], Ask | None]]:
    """The hardware devices on the way, as `_stops` tells of hosts; each is asked by the host that it is cabled to."""
    ends = {nic.id: nic.host_id for leg in legs for nic in (leg.sender, leg.receiver)}
    met = [(place, part) for place in places for part in place.parts if part.nic_id in ends]
    query = select(Host.id, Host.name, Host.state).where(Host.id.in_([ends[part.nic_id] for _, part in met]))
    hosts = {row.id: row for row in session.execute(query)} if met else {}
    for place, part in met:
        host = hosts[ends[part.nic_id]]
        note = {
            "role": DEVICE, "host_id": host.id, "host": host.name, "state": host.state, "network_id": place.view.id,
            "device_id": part.device.id, "asked": host.state == "Up",
        }  # fmt: skip
        yield note, Ask(pictures[place.view.id].agents[host.id], TraceDevice(part)) if note["asked"] else None


def keep_answers(run: Run, answers: list[Any]) -> None:
    replies = iter(answers)
    run.note(stops=[_replied(stop, next(replies)) if stop["asked"] else stop for stop in run.recall("stops")])


def _replied(stop: dict[str, Any], reply: TraceFacts | DeviceTrace | StepFailed) -> dict[str, Any]:
    if isinstance(reply, StepFailed):
        return {**stop, "silent": str(reply)}
    if isinstance(reply, DeviceTrace):
        return {**stop, "difference": reply.cable or reply.device, "silent": reply.silent if not reply.cable else ""}
    return _judged(stop, reply)


def _judged(stop: dict[str, Any], facts: TraceFacts) -> dict[str, Any]:
    """What the host does beside what it should: whether the frame goes where it must, and what differs."""
    onward, wanted_onward = (
        (stop["next_host_id"] in hosts) if stop["next_host_id"] else (stop["receiver_id"] in nics)
        for hosts, nics in ((facts.host_ids, facts.nic_ids), (facts.wanted_host_ids, facts.wanted_nic_ids))
    )
    should = stop["left"] if stop["next_host_id"] else stop["arrives"]
    difference = facts.difference
    if not difference and facts.generation < stop["generation"]:
        difference = f"It holds generation {facts.generation} of the network; {stop['generation']} is wanted."
    if not difference and wanted_onward != should:
        difference = (
            f"The flows that it should have {'pass' if wanted_onward else 'drop'} the packet, against the rules."
        )
    flows = [asdict(step) for step in facts.steps]
    return {**stop, "delivers": onward, "should": should, "difference": difference, "flows": flows}


explain_reachability = workflow(
    "reachability.explain",
    Network,
    [Step(ask_hosts, then=keep_answers, tolerant=True)],
    lane="reachability",
    awaited=True,
)


def explain(session: Session, question: Question, *, call: Any) -> WorkflowRow:
    """Start the job; its answer lies in its own memory."""
    network = session.get_one(Network, question.network_ids[0])
    given = {**asdict(question), "network_ids": list(question.network_ids)}
    job = explain_reachability.start(session, network, call=call, **given)
    job.memory = {"result_id": job.id}
    return job


def public_networks(session: Session, address: str) -> list[str]:
    """The networks that have the public address, or whose VPC has it; of several zones, there may be several."""
    taken = (PublicAddress.network_id == Network.id) | (PublicAddress.vpc_id == Network.vpc_id)
    query = select(Network.id).join(PublicAddress, taken).where(PublicAddress.address == address)
    return list(session.scalars(query.where(~PublicAddress.releasing, Network.removed.is_(None)).order_by(Network.id)))


def with_tiers(session: Session, network_ids: Sequence[str]) -> list[str]:
    """The networks, and behind them the other tiers of their VPCs."""
    vpcs = select(Network.vpc_id).where(Network.id.in_(network_ids), Network.vpc_id.is_not(None))
    query = select(Network.id).where(Network.vpc_id.in_(vpcs), Network.removed.is_(None)).order_by(Network.id)
    return list(dict.fromkeys([*network_ids, *session.scalars(query)]))
