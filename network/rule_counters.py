"""What the rules of policies have decided, from the flows of a switch that bear their cookies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from network.flow_tables.layout import RULE_KIND, cookie

RULE_FLOWS = f"cookie={RULE_KIND << 56:#x}/{0xFF << 56:#x}"
"""The flows of all rules, as ovs-ofctl is asked for them."""
HIT = re.compile(r"cookie=(0x[0-9a-f]+),.* n_packets=([0-9]+)")


def hits(dump: str, rule_ids: Iterable[str]) -> dict[str, int]:
    """How many packets each rule has decided since its flows were made, from `dump-flows`; none for 0.

    What an established connection goes on with is decided by its rule too; answers are not, which need none.
    """
    named = {cookie(RULE_KIND, rule_id): rule_id for rule_id in rule_ids}
    found: dict[str, int] = {}
    for line in dump.splitlines():
        hit = HIT.search(line)
        if hit and int(hit[1], 16) in named and int(hit[2]):
            rule_id = named[int(hit[1], 16)]
            found[rule_id] = found.get(rule_id, 0) + int(hit[2])
    return found
