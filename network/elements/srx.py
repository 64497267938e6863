"""A Juniper SRX as the firewall of tenant networks.

The device is made equal to the wanted state by one private candidate: what differs is loaded, committed on trial, and
confirmed when the device still answers. Who is ended half way leaves it as it was: a candidate goes with its session,
and a commit that nobody confirms is taken back by the device.
"""

from __future__ import annotations

from lxml import etree

from network.elements import srx_vpn
from network.elements.base import RouterState
from network.elements.junos_tree import change, differences
from network.elements.srx_config import check_vlan, held, lacking, places, routers, wanted
from network.elements.srx_names import SrxSettings, name_of
from network.elements.srx_session import SrxSession, conversation
from network.errors import DeviceRefusedError
from network.hardware import DeviceFacts
from network.types import RouterSpec

MINIMAL = ("unit", "instance", "zone")
"""Without one of these a network is not served."""


class Srx:
    """A RouterElement without DHCP, DNS and metadata, which remain with a virtual router."""

    def __init__(self, settings: SrxSettings) -> None:
        self._settings = settings

    def apply(self, spec: RouterSpec) -> None:
        """As RouterElement; also raises the errors of `conversation`.

        :raises DeviceRefusedError: also where the device takes no VPN that the network has
        """
        entries = wanted(spec, self._settings)
        proof = srx_vpn.certificate_of(spec)
        with conversation(self._settings) as session:
            session.open()
            configuration = session.configuration()
            check_vlan(configuration, spec, self._settings)
            if proof is not None and (missing := srx_vpn.lacking(configuration, self._settings)):
                raise DeviceRefusedError(f"The device {self._settings.host} {missing}, so it can have no VPN.")
            there = held(configuration, spec.id, self._settings)
            may_have = proof is not None or srx_vpn.is_in(there)
            known = session.certificates(name_of(spec.id)) if may_have else set()
            if proof is not None and proof[0] not in known:
                session.load_certificate(*proof)
            self._make_so(session, change(there, entries))
            for name in sorted(known - ({proof[0]} if proof is not None else set())):
                session.forget_certificate(name)

    def remove(self, router_id: str) -> None:
        with conversation(self._settings) as session:
            session.open()
            known = session.certificates(name_of(router_id))
            self._make_so(session, change(held(session.configuration(), router_id, self._settings), {}))
            for name in sorted(known):
                session.forget_certificate(name)

    def _make_so(self, session: SrxSession, edit: etree._Element | None) -> None:
        if edit is not None:
            session.load(edit)
            session.commit(self._settings.confirm_minutes)
            session.confirm()

    def list(self) -> list[str]:
        with conversation(self._settings) as session:
            return routers(session.configuration(committed=True), self._settings)

    def differences(self, spec: RouterSpec) -> tuple[str, ...]:
        """What the device has of the network otherwise than wanted, as `junos_tree.differences` names it."""
        entries = wanted(spec, self._settings)
        with conversation(self._settings) as session:
            found = held(session.configuration(committed=True), spec.id, self._settings)
        return tuple(differences(found, entries))

    def state(self, router_id: str) -> RouterState:
        with conversation(self._settings) as session:
            found = held(session.configuration(committed=True), router_id, self._settings)
        if not found:
            return "absent"
        needed = {places(self._settings)[kind] for kind in MINIMAL}
        return "running" if needed <= {where for where, _ in found} else "degraded"

    def traffic(self, router_id: str) -> tuple[int, int]:
        """Bytes that guests sent to the device and got from it, since their network is on it."""
        name = name_of(router_id)
        with conversation(self._settings) as session:
            sent = session.counters(f"{name}-in").get(f"{name}-in", (0, 0))
            received = session.counters(f"{name}-out").get(f"{name}-out", (0, 0))
        return sent[1], received[1]

    def system(self) -> dict[str, str]:
        """Model, name and version, as the device tells them: hardware-model, os-name, os-version, host-name."""
        with conversation(self._settings) as session:
            return session.system()

    def inspect(self) -> DeviceFacts:
        """:raises DeviceRefusedError: the device lacks what the operator must have configured"""
        own = self._settings
        with conversation(own) as session:
            missing = lacking(session.configuration(committed=True), own)
            if missing:
                raise DeviceRefusedError(f"The device {own.host} {missing}.")
            mac = session.interface(own.guest_port).get("current-physical-address", "").lower()
            found = session.system()
        if not mac:
            raise DeviceRefusedError(f"The device {own.host} tells no MAC address of {own.guest_port}.")
        names = ("host-name", "hardware-model", "os-version")
        return DeviceFacts(mac, *(found.get(name, "") for name in names))
