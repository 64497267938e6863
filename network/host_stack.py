"""Keeps the host's own IP stack away from the frames of guests.

With the userspace datapath every frame that enters a port of the switch is also seen by the kernel, which would answer
ARP for the host's addresses and take packets meant for them. Open vSwitch reads its copy before these rules.
"""

from __future__ import annotations

from network.names import ROUTER_GUEST_PREFIX, TAP_PREFIX
from network.process import run


def guard(devices: tuple[str, ...] = ()) -> None:
    """Drop, on the way in and out, what the kernel itself does with guest ports and with `devices`.

    The rules go by name, so that they hold for every port that is made later.
    """
    names = [f'"{TAP_PREFIX}*"', f'"{ROUTER_GUEST_PREFIX}*"', *(f'"{device}"' for device in devices)]
    arriving = "\n".join(f"    iifname {name} drop" for name in names)
    leaving = "\n".join(f"    oifname {name} drop" for name in names)
    run(["nft", "-f", "-"], stdin=RULES.format(arriving=arriving, leaving=leaving))


RULES = """
table inet pileus_ports
delete table inet pileus_ports
table inet pileus_ports {{
  chain arriving {{
    type filter hook prerouting priority raw
{arriving}
  }}
  chain leaving {{
    type filter hook output priority raw
{leaving}
  }}
}}
table arp pileus_ports
delete table arp pileus_ports
table arp pileus_ports {{
  chain arriving {{
    type filter hook input priority 0
{arriving}
  }}
  chain leaving {{
    type filter hook output priority 0
{leaving}
  }}
}}
"""
