"""The line between two redundant routers: VRRP and the states of connections pass on it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.guard import UNTAGGED
from network.flow_tables.layout import CLASSIFY, FORWARD, NIC_KIND, OUTPUT, SOURCE_GUARD, Flow, Place, cookie
from network.redundancy import STATES_PORT, VRRP


def pair_flows(place: Place) -> Iterator[Flow]:
    """Tables CLASSIFY, SOURCE_GUARD and FORWARD of both ends."""
    ends = place.view.pair
    for own, peer in zip(ends, ends[::-1], strict=True):
        mark = cookie(NIC_KIND, own.id)
        inward = f"metadata={place.key},dl_dst={own.mac},nw_src={peer.address},nw_dst={own.address}"
        if own.host_id != place.host_id:
            if through := place.way((own.host_id,)):
                yield Flow(FORWARD, 90, f"ip,reg0=0,{inward}", through, mark)
            continue
        port = place.numbers.nics[own.id].ofport
        yield Flow(FORWARD, 100, f"ip,{inward}", f"set_field:{port:#x}->reg7,goto_table:{OUTPUT}", mark)
        known = f"set_field:{place.key}->metadata,goto_table:{SOURCE_GUARD}"
        yield Flow(CLASSIFY, 100, f"in_port={port},{UNTAGGED}", known, mark)
        outward = f"in_port={port},dl_src={own.mac},dl_dst={peer.mac},nw_src={own.address},nw_dst={peer.address}"
        for kind in (f"ip,nw_proto={VRRP}", f"udp,tp_dst={STATES_PORT}"):
            yield Flow(SOURCE_GUARD, 100, f"{kind},{outward}", f"goto_table:{FORWARD}", mark)
