"""Handler of tenant networks: the host's part of one network, and its router where it runs here."""

from __future__ import annotations

from agents.contract import ApplyNetwork
from agents.host.host import Host
from agents.runner import handles


@handles(ApplyNetwork)
def apply_network(host: Host, command: ApplyNetwork) -> None:
    host.hold((command,))
