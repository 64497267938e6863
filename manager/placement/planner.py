"""In which order the hosts that fit are taken. The names are those of CloudStack's planners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manager.placement.host import Verdict

FIRST_FIT, DISPERSING = "FirstFitPlanner", "UserDispersingPlanner"
CONCENTRATED = "UserConcentratedPodPlanner"
PLANNERS = {
    FIRST_FIT: "the emptiest host first",
    DISPERSING: "the host with the fewest virtual machines of the account first",
    CONCENTRATED: "the pod with the most virtual machines of the account first, and in it the emptiest host",
}
DEFAULT = DISPERSING
LOAD_DIGITS = 2

Rank = tuple[float, ...]


def ranking(planner: str, verdicts: Iterable[Verdict]) -> Callable[[Verdict], Rank]:
    """The key to sort `verdicts` by: those that fit first, then by wishes, then as the planner has it."""
    pods: Counter[str] = Counter()
    for verdict in verdicts:
        pods[verdict.pod_id] += verdict.neighbours

    def rank(verdict: Verdict) -> Rank:
        first: Rank = (not verdict.fits, len(verdict.wishes))
        load = round(verdict.load, LOAD_DIGITS)
        if planner == FIRST_FIT:
            return (*first, load)
        if planner == CONCENTRATED:
            return (*first, -pods[verdict.pod_id], load)
        return (*first, verdict.neighbours, load)

    return rank
