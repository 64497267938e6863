"""The oracle: the database against what the agents last found on hosts and in image stores.

It reads only. What a job is at work on, or was within `GRACE_SECONDS` before a survey or since, is left to the next
survey, so that nothing is reported that was merely on its way. Surveys are read first and jobs last.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager import recount
from manager.db import epoch
from manager.recount import Finding
from manager.survey import ANY_HOST, Facts, Survey, add_changes, add_gone, facts_of, since, surveys_of

LATE_SECONDS = 300.0
BLIND_SECONDS = 3600.0
FOREIGN = -1


@dataclass(frozen=True, slots=True)
class Findings:
    drift: list[Finding]
    orphans: list[Finding]
    surveys: list[Survey]


def compare(session: Session) -> Findings:
    """All disagreements of this moment, and the surveys that they rest on."""
    now = float(session.scalar(select(epoch())) or 0.0)
    surveys = surveys_of(session)
    facts = facts_of(session)
    seen = [survey for survey in surveys if survey.at is not None and survey.at > now - BLIND_SECONDS]
    add_gone(session, facts, seen)
    add_changes(session, facts, min((survey.at or now for survey in seen), default=now))
    drift = [finding for survey in surveys for finding in _unseen(survey, now)]
    drift += [finding for survey in seen for check in DRIFT for finding in check(facts, survey)]
    orphans = [finding for survey in seen for check in ORPHANS for finding in check(facts, survey)]
    drift += recount.drift(session)
    orphans += recount.orphans(session)
    return Findings(drift, orphans, surveys)


# --- what the database says and a host does not show ----------------------------------------------------------------


def _unseen(survey: Survey, now: float) -> Iterator[Finding]:
    """Hosts that count as Up and whose agent has not told for long what is on them."""
    latest = survey.created if survey.at is None else survey.at
    if survey.state == "Up" and latest < now - LATE_SECONDS:
        kind = "Host" if survey.is_host else "ImageStore"
        yield survey.finding(
            "survey", kind, survey.id, f"{survey.name} {told_time(survey)}.", ("a survey", "none of late")
        )


def _vms(facts: Facts, survey: Survey) -> Iterator[Finding]:
    domains = {domain.vm_id: domain for domain in survey.inventory.domains}
    for vm in facts.vms.values():
        here = vm.host_id == survey.id and vm.state == "Running"
        domain = domains.get(vm.id)
        if (not here and domain is None) or facts.moved("vms", vm.id, survey):
            continue
        if domain is None:
            told = ("vm.missing", f"The virtual machine {vm.name} should run on {survey.name}; it has no such domain.")
            outcome = ("running", "absent")
        elif not here:
            told = (
                "vm.unwanted",
                f"{survey.name} has a domain of {vm.name}, which is {vm.state} and not placed there.",
            )
            outcome = ("absent", domain.state)
        elif domain.generation != vm.generation:
            told = (
                "vm.generation",
                f"{survey.name} has {vm.name} of placement {domain.generation}, not {vm.generation}.",
            )
            outcome = (str(vm.generation), str(domain.generation))
        elif domain.state != "running":
            told = ("vm.state", f"The virtual machine {vm.name} should run on {survey.name}; it is {domain.state}.")
            outcome = ("running", domain.state)
        else:
            continue
        yield survey.finding(told[0], "VirtualMachine", vm.id, told[1], outcome)


def _ports(facts: Facts, survey: Survey) -> Iterator[Finding]:
    ports = set(survey.inventory.ports)
    for nic in facts.nics.values():
        vm = facts.vms.get(nic.vm_id)
        if vm is None or facts.moved("vms", vm.id, survey):
            continue
        wanted = vm.state == "Running" and nic.host_id == survey.id
        if wanted and nic.id not in ports:
            detail = f"NIC {nic.id} of {vm.name} has no port on the switch of {survey.name}."
            yield survey.finding("nic.port", "Nic", nic.id, detail, ("a port", "none"))
        elif not wanted and nic.id in ports:
            detail = (
                f"NIC {nic.id} of {vm.name}, which is {vm.state}, has a port on {survey.name} and is not placed there."
            )
            yield survey.finding("nic.unwanted", "Nic", nic.id, detail, ("no port", "a port"))


def _networks(facts: Facts, survey: Survey) -> Iterator[Finding]:
    """Views that a host lacks, holds of an older generation or with another key, or holds without a NIC there."""
    held = {network.network_id: network for network in survey.inventory.networks}
    wanted = {nic.network_id for nic in facts.nics.values() if nic.host_id == survey.id}
    for network_id in sorted(wanted | held.keys()):
        network, view = facts.networks.get(network_id), held.get(network_id)
        if network is None or facts.network_moved(network_id, survey):
            continue
        if view is None:
            told = ("network.missing", "holds no view of network", ("a view", "none"))
        elif network_id not in wanted:
            told = ("network.unwanted", "holds a view without a NIC there of network", ("no view", "a view"))
        elif view.key != network.key:
            told = ("network.key", "has another tunnel key for network", (str(network.key), str(view.key)))
        elif not network.shared_generation <= view.generation <= network.generation:
            told = ("network.generation", "holds another generation of network", _pair(network, view))
        else:
            continue
        yield survey.finding(told[0], "Network", network_id, f"{survey.name} {told[1]} {network.name}.", told[2])


def _pair(wanted: Any, found: Any) -> tuple[str, str]:
    return str(wanted.generation), str(found.generation)


def _routers(facts: Facts, survey: Survey) -> Iterator[Finding]:
    held = set(survey.inventory.routers)
    for router in facts.routers.values():
        wanted = router.host_id == survey.id and router.state == "Running"
        if wanted == (router.id in held) or facts.router_moved(router, survey):
            continue
        kind = "router.missing" if wanted else "router.unwanted"
        told = "should run" if wanted else "runs and should not"
        outcome = ("running", "absent") if wanted else ("absent", "running")
        yield survey.finding(kind, "Router", router.id, f"The router {router.name} {told} on {survey.name}.", outcome)


def _volumes(facts: Facts, survey: Survey) -> Iterator[Finding]:
    """Volumes of pools of one host; those of shared pools may be seen from any."""
    held = set(survey.inventory.volumes)
    for volume in facts.volumes.values():
        shared = volume.pool_id is not None and volume.host_id is None
        wanted = volume.state == "Ready" and volume.host_id == survey.id
        if shared or wanted == (volume.id in held) or not survey.is_host or facts.moved("vms", volume.vm_id, survey):
            continue
        kind = "volume.missing" if wanted else "volume.unwanted"
        told = "should lie" if wanted else f"is {volume.state} and lies"
        outcome = ("a file", "none") if wanted else ("none", "a file")
        detail = f"The volume {volume.name} {told} on {survey.name}."
        yield survey.finding(kind, "Volume", volume.id, detail, outcome)


def _images(facts: Facts, survey: Survey) -> Iterator[Finding]:
    held = set(survey.inventory.images)
    for template in facts.templates.values():
        wanted = template.state == "Ready" and template.image_store_id == survey.id
        here = template.id in held and not survey.is_host
        if wanted == here or facts.moved("templates", template.id, survey):
            continue
        kind = "image.missing" if wanted else "image.unwanted"
        told = "should be" if wanted else f"is {template.state} and is"
        outcome = ("an image", "none") if wanted else ("none", "an image")
        detail = f"The template {template.name} {told} in {survey.name}."
        yield survey.finding(kind, "Template", template.id, detail, outcome)


def _flows(facts: Facts, survey: Survey) -> Iterator[Finding]:
    """Flows that are not those of the views. They do not name their network, so none may be changing on the host."""
    if any(facts.network_moved(network.network_id, survey) for network in survey.inventory.networks):
        return
    for line in survey.inventory.flow_drift:
        detail = f"The switch of {survey.name} differs from what its networks need: {line}"
        outcome = ("absent", line[1:]) if line.startswith("+") else (line.removeprefix("-"), "absent")
        yield survey.finding("flow", "Host", survey.id, detail, outcome)


def _devices(facts: Facts, survey: Survey) -> Iterator[Finding]:
    """What hardware devices have of a network otherwise than they were told; nothing of it is taken away for that."""
    for one in survey.inventory.device_drift:
        network = facts.networks.get(one.network_id)
        if network is None or facts.network_moved(one.network_id, survey):
            continue
        detail = f"The device {one.device} of {survey.name} differs from what {network.name} needs: {one.difference}"
        name = one.difference[1:]
        outcome = {"+": ("absent", name), "-": (name, "absent")}.get(one.difference[:1], (name, "changed"))
        yield survey.finding("device", "Network", one.network_id, detail, outcome)


# --- what a host shows and the database does not know ----------------------------------------------------------------


def _unknown_domains(facts: Facts, survey: Survey) -> Iterator[Finding]:
    """A domain that Pileus did not define is told of, and never touched."""
    for domain in survey.inventory.domains:
        if domain.vm_id in facts.vms or facts.just_gone(domain.vm_id, survey):
            continue
        foreign = domain.generation == FOREIGN
        told = "that Pileus did not define" if foreign else "of a virtual machine that does not exist"
        detail = f"{survey.name} has a domain {domain.instance_name} ({domain.state}) {told}."
        kind = "domain.foreign" if foreign else "domain"
        yield survey.finding(kind, "VirtualMachine", domain.vm_id, detail, ("absent", domain.state))


def _unknown_things(facts: Facts, survey: Survey) -> Iterator[Finding]:
    found = survey.inventory
    kinds: tuple[tuple[str, str, list[str], dict[str, Any]], ...] = (
        ("volume.file", "Volume", list(found.volumes), facts.volumes),
        ("image", "Template", list(found.images), facts.templates),
        ("network", "Network", [network.network_id for network in found.networks], facts.networks),
        ("router", "Router", list(found.routers), facts.routers),
    )
    for kind, resource, ids, known in kinds:
        for key in ids:
            if key not in known and not facts.just_gone(key, survey):
                detail = f"{survey.name} has a {resource.lower()} {key} that does not exist."
                yield survey.finding(kind, resource, key, detail, ("absent", "present"))


def _unknown_ports(facts: Facts, survey: Survey) -> Iterator[Finding]:
    """Ports of no NIC. A NIC's row leaves no trace, so after a VM or router went the next survey must tell."""
    if not any(since(facts.hosts_changed.get(key), survey) for key in (survey.id, ANY_HOST)):
        for port in survey.inventory.ports:
            if port not in facts.nics:
                detail = f"The switch of {survey.name} has a port of NIC {port}, which does not exist."
                yield survey.finding("port", "Nic", port, detail, ("absent", "present"))


def _unknown_marks(_facts: Facts, survey: Survey) -> Iterator[Finding]:
    for line in survey.inventory.unknown:
        detail = f"{survey.name} has something with marks of Pileus and no known id: {line}"
        yield survey.finding("unknown", "Host", survey.id, detail, ("absent", line))


def told_time(survey: Survey) -> str:
    """When it was surveyed, as the end of a sentence."""
    if survey.at is None:
        return "has never been surveyed"
    return f"was last surveyed at {dt.datetime.fromtimestamp(survey.at, dt.UTC):%Y-%m-%dT%H:%M:%S+0000}"


Check = Callable[[Facts, Survey], Iterator[Finding]]
DRIFT: tuple[Check, ...] = (_vms, _ports, _networks, _routers, _volumes, _images, _flows, _devices)
ORPHANS: tuple[Check, ...] = (_unknown_domains, _unknown_things, _unknown_ports, _unknown_marks)
