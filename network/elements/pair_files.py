"""Configurations of what makes two routers a pair: keepalived, conntrackd, and the gate of the one that waits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from network.redundancy import STATES_PORT
from network.types import Pair

DEVICE = "pair0"
TABLE = "pileus_gate"
LINE = "line"
"""The file with the addresses of both ends of the line, the router's own first."""
GROUP = 51
SECONDS_BETWEEN = 0.3
"""Between two advertisements; a router that is silent for three of them and a moment is taken for dead (RFC 5798)."""
PRIORITY = 20
"""Of the scheduler, in real time: a router that is merely busy must not be taken for dead."""
ALONE = "ALONE"
"""What a router is told that was primary beside another one, which gives way to it."""
NOBODY = "169.254.255.255"
"""VRRP is always about an address; the pair's own ones are on both routers, behind the gate."""

OPEN = "".join(f"table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in ("inet", "arp"))
CLOSED = f"""{OPEN}table inet {TABLE} {{
  chain arriving {{
    type filter hook prerouting priority raw; policy accept;
    iifname != {{ "lo", "{DEVICE}" }} drop
  }}
  chain leaving {{
    type filter hook output priority raw; policy accept;
    oifname != {{ "lo", "{DEVICE}" }} drop
  }}
}}
table arp {TABLE} {{
  chain arriving {{
    type filter hook input priority filter; policy drop;
  }}
  chain leaving {{
    type filter hook output priority filter; policy drop;
  }}
}}
"""


def keepalived_conf(pair: Pair, notify: str) -> str:
    """`notify` is the command that keepalived tells of each change."""
    return f"""global_defs {{
  router_id pair
  vrrp_version 3
  script_user root
  vrrp_rt_priority {PRIORITY}
}}
vrrp_instance pair {{
  state BACKUP
  interface {DEVICE}
  virtual_router_id {GROUP}
  priority {pair.priority}
  advert_int {SECONDS_BETWEEN}
  nopreempt
  unicast_src_ip {pair.nic.address}
  unicast_peer {{
    {pair.peer.address}
  }}
  virtual_ipaddress {{
    {NOBODY}/32 dev lo
  }}
  notify "{notify}"
  notify_stop "{notify} INSTANCE pair STOP"
  notify_master_rx_lower_pri "{notify} INSTANCE pair {ALONE}"
}}
"""


def conntrackd_conf(pair: Pair, home: Path, own: Iterable[str]) -> str:
    """The other router's states go straight into the kernel: they are the same addresses there.

    Those of connections to the router itself, at its `own` addresses, end with it.
    """
    ignored = ("127.0.0.1", "169.254.169.254", pair.nic.address, pair.peer.address, *own)
    lines = "\n".join(f"      IPv4_address {address}" for address in ignored)
    return f"""Sync {{
  Mode FTFW {{
    DisableExternalCache on
  }}
  UDP {{
    IPv4_address {pair.nic.address}
    IPv4_Destination_Address {pair.peer.address}
    Port {STATES_PORT}
    Interface {DEVICE}
    Checksum on
  }}
}}
General {{
  HashSize 32768
  HashLimit 131072
  LogFile off
  Syslog off
  LockFile {home}/conntrackd.lock
  UNIX {{
    Path {home}/conntrackd.ctl
  }}
  NetlinkBufferSize 2097152
  NetlinkBufferSizeMaxGrowth 8388608
  Filter From Userspace {{
    Address Ignore {{
{lines}
    }}
  }}
}}
"""
