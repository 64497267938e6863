"""Workflows of public addresses and rules: a change is in its rows at once, and its job ends when the router has it.

Any number of changes of one network travel together. Each has the number that `next_revision` gave it; a carrier tells
the router all that is wanted when it starts, and whoever finds his number not yet told starts the next carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Network, NetworkRule, PublicAddress, WorkflowRow
from manager.placement.portable import free_addresses
from manager.workflows.carriers import carried_by, locked
from manager.workflows.engine import Ask, Outcome, Run, Step, Workflow, workflow
from manager.workflows.rule_rows import forget_rules, living, move_all, next_revision
from manager.workflows.views import picture


def tell_router(run: Run) -> list[Ask]:
    """No undo: it tells what is wanted, and whoever waits takes back what he wanted."""
    asks = picture(run.session, run.row.subject_id, of_router=True).asks()
    run.note(revision=_locked(run.session, run.row.subject_id).rules_wanted)
    return asks


def mark_told(run: Run) -> Outcome:
    told = update(Network).where(Network.id == run.row.subject_id)
    write(run.session, told.values(rules_applied=run.recall("revision")))
    return None


carry_rules = workflow(
    "network.rules", Network, [Step(tell_router), Step(mark_told)], lane="network-rules", awaited=True
)


def _locked(session: Session, network_id: str) -> Network:
    network: Network = locked(session, Network, network_id)
    return network


def carry(run: Run) -> Outcome:
    """Wait until the router was told what this job wants; starts a carrier when none is under way."""
    return carried(run, run.arguments["network_id"], run.arguments["revision"])


def carried(run: Run, network_id: str, revision: int) -> Outcome:
    """As `carry`, for a job that concerns several networks."""
    network = _locked(run.session, network_id)
    failure = f"The router of network {network.name} was not told"
    return carried_by(run, carry_rules, network, network.rules_applied, failure, revision)


def tell_again(run: Run) -> list[Ask]:
    """What an undo has taken back in the rows, the router must not keep."""
    run.session.flush()
    return picture(run.session, run.arguments["network_id"], of_router=True).asks()


def rules_of(run: Run) -> Sequence[NetworkRule]:
    return living(run.session, NetworkRule.id.in_(run.arguments["rules"]))


def take_back(run: Run) -> list[Ask]:
    forget_rules(run.session, NetworkRule.id.in_(run.arguments["rules"]))
    return tell_again(run)


def mark_active(run: Run) -> Outcome:
    move_all(rules_of(run), "apply")
    return None


def keep_rules(run: Run) -> list[Ask]:
    move_all(rules_of(run), "keep")
    return tell_again(run)


def drop_rules(run: Run) -> Outcome:
    forget_rules(run.session, NetworkRule.id.in_(run.arguments["rules"]))
    return None


def restore_rule(run: Run) -> list[Ask]:
    for rule in rules_of(run):
        for name, value in run.arguments["before"].items():
            setattr(rule, name, value)
    return tell_again(run)


add_rules = workflow("rule.add", NetworkRule, [Step(carry, undo=take_back), Step(mark_active)])
enable_nat = workflow(
    "rule.enable", NetworkRule, [Step(carry, undo=take_back), Step(mark_active)], lane="enabled-static-nats"
)
"""Who asks for it is not told of the job, and may take static NAT off again at once: no other job waits for it."""
remove_rules = workflow("rule.remove", NetworkRule, [Step(carry, undo=keep_rules), Step(drop_rules)])
tell_of_retired = workflow("rule.retire", NetworkRule, [Step(carry)], lane="retired-rules")
change_rule = workflow("rule.change", NetworkRule, [Step(carry, undo=restore_rule)])


def begin_associating(_run: Run) -> Outcome:
    """The address is the network's since the call."""
    return None


def free_address(run: Run) -> Outcome:
    """No router has the address any more: it is free for everybody."""
    forget_rules(run.session, NetworkRule.address_id == run.row.subject_id)
    free_addresses(run.session, PublicAddress.id == run.row.subject_id, is_unused=run.row.undoing)
    return None


def withdraw_address(run: Run) -> list[Ask]:
    run.subject(PublicAddress).releasing = True
    return tell_again(run)


def keep_address(run: Run) -> list[Ask]:
    run.subject(PublicAddress).releasing = False
    return keep_rules(run)


associate_address = workflow(
    "address.associate",
    PublicAddress,
    [Step(begin_associating, undo=free_address), Step(carry, undo=withdraw_address)],
)
release_address = workflow("address.release", PublicAddress, [Step(carry, undo=keep_address), Step(free_address)])


def start_for(
    session: Session, job: Workflow, rules: Sequence[NetworkRule], revision: int, *, call: Any = None, **more: Any
) -> WorkflowRow:
    """A job for the rules, of which the first is its subject."""
    first = rules[0]
    named = [rule.id for rule in rules]
    return job.start(session, first, call=call, network_id=first.network_id, revision=revision, rules=named, **more)


def retire_rules_of_vm(session: Session, vm_id: str) -> None:
    """The VM gives up its addresses: what leads to it is gone at once, and a job of our own tells the router.

    There is no way back: should the router not be told now, then with the next change of its network.
    """
    rules = living(session, NetworkRule.vm_id == vm_id)
    for network_id in sorted({rule.network_id for rule in rules}):
        mine = [rule for rule in rules if rule.network_id == network_id]
        revision = next_revision(session, network_id)
        named = [rule.id for rule in mine]
        forget_rules(session, or_(NetworkRule.id.in_(named), NetworkRule.related_id.in_(named)))
        start_for(session, tell_of_retired, mine, revision)
