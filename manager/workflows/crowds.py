"""Who comes into or leaves a network on many hosts has its hosts told together with others who do.

A job's change is in its rows, and has a generation of the network, before it waits; a carrier tells every host all
that is wanted when it starts, one at a time for a network. So many jobs at once cost few tellings. Networks on few
hosts have no carrier: their jobs tell the hosts themselves.
"""

from __future__ import annotations

from sqlalchemy import update

from manager.db import write
from manager.models import Network
from manager.workflows.carriers import carried_by, locked, or_owe
from manager.workflows.engine import Ask, Await, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.views import Picture, picture

LEFT = "left_to_carrier"
"""In a job's memory: the generations that it waits for, by network."""


def tell_all(run: Run) -> list[Ask]:
    """No undo: it tells what is wanted, and whoever waits takes back what he wanted."""
    shown = picture(run.session, run.row.subject_id)
    run.note(revision=shown.generation)
    return or_owe(run, shown.asks())


def mark_told(run: Run) -> Outcome:
    generation = run.recall("revision")
    told = update(Network).where(Network.id == run.row.subject_id, Network.hosts_told < generation)
    write(run.session, told.values(hosts_told=generation))
    return None


tell_network = workflow("network.tell", Network, [Step(tell_all), Step(mark_told)], lane="network-hosts", awaited=True)


def leave_to_carrier(run: Run, network_id: str, shown: Picture) -> None:
    """Note that hosts must know `shown` before the job goes on, if it is not for the job to tell them."""
    left = {name: generation for name, generation in (run.recall(LEFT) or {}).items() if name != network_id}
    if shown.crowded:
        left[network_id] = shown.generation
    if left or run.recall(LEFT):
        # A carrier that an earlier step waited for is not the one of this change.
        run.note(**{LEFT: left, f"carrier:{network_id}": None})


def begin_telling(run: Run) -> None:
    """Have a carrier start, where none is under way, while the job does something else before it waits."""
    for network_id, generation in sorted((run.recall(LEFT) or {}).items()):
        _carried(run, network_id, generation)


def await_told(run: Run) -> Outcome:
    """Wait until all hosts were told what is noted.

    :raises StepFailed: a carrier that had it was not answered well
    """
    for network_id, generation in sorted((run.recall(LEFT) or {}).items()):
        if wait := _carried(run, network_id, generation):
            return wait
    if run.recall(LEFT):
        run.note(**{LEFT: {}})
    return None


def await_taken_back(run: Run) -> Outcome:
    """As `await_told`, for an undo, which tells the hosts by itself when a carrier could not."""
    asks: list[Ask] = []
    for network_id, generation in sorted((run.recall(LEFT) or {}).items()):
        try:
            if wait := _carried(run, network_id, generation):
                return wait
        except StepFailed:
            asks += picture(run.session, network_id).asks()
    return asks


def _carried(run: Run, network_id: str, generation: int) -> Await | None:
    network = locked(run.session, Network, network_id)
    failure = f"The hosts of network {network.name} were not told"
    return carried_by(run, tell_network, network, network.hosts_told, failure, generation)
