"""Where a VPN may stand: a public address that other rules do not take its traffic from."""

from __future__ import annotations

from sqlalchemy import select

from manager.api.call import Call
from manager.api.errors import ApiError
from manager.models import NetworkRule, PortForwardingRule, PublicAddress, RemoteAccessVpn
from manager.workflows.rule_rows import living

KEY_EXCHANGE_PORTS = (500, 4500)
CONFLICT = 537


def refuse_udp_rules(call: Call, address: PublicAddress) -> None:
    """With the network locked.

    :raises ApiError: a rule leads the UDP ports of the key exchange elsewhere
    """
    led = ("StaticNat", "PortForwarding")
    for rule in living(call.session, NetworkRule.address_id == address.id, NetworkRule.purpose.in_(led)):
        if not isinstance(rule, PortForwardingRule) or takes_key_exchange(rule):
            raise ApiError(CONFLICT, f"The public address {address.address} is in use by rule {rule.id}, which leads "
                                     "the ports of a VPN, UDP 500 and 4500, to a guest.")  # fmt: skip


def takes_key_exchange(rule: NetworkRule) -> bool:
    first, last = rule.first_port or 0, rule.last_port or 0
    return rule.protocol == "udp" and any(first <= port <= last for port in KEY_EXCHANGE_PORTS)


def refuse_vpn(call: Call, address: PublicAddress) -> None:
    """With the network locked.

    :raises ApiError: a VPN ends at the address
    """
    query = select(RemoteAccessVpn.id).where(
        RemoteAccessVpn.address_id == address.id, RemoteAccessVpn.removed.is_(None)
    )
    found = call.session.scalar(query)
    if found is not None:
        raise ApiError(CONFLICT, f"The public address {address.address} is in use by remote access VPN {found}.")
