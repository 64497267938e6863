"""One conversation with a Junos device: NETCONF over SSH, in a private candidate."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lxml import etree
from ncclient import manager
from ncclient.operations import RPCError
from ncclient.operations.errors import OperationError
from ncclient.transport.errors import AuthenticationError, TransportError

from network.elements.junos_tree import node, without_namespaces
from network.elements.srx_names import SrxSettings
from network.errors import DeviceBusyError, DeviceRefusedError, DeviceUnreachableError

CERTIFICATES = "security pki local-certificate"
FOLDER = "/var/tmp"  # noqa: S108 - of the device


class SrxSession:
    """What the driver says to the device. All calls raise the errors of `conversation`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def open(self) -> None:
        """A candidate of our own: what others edit meanwhile is theirs."""
        self._ask(node("open-configuration", node("private")))

    def configuration(self, *, committed: bool = False) -> etree._Element:
        """That of the candidate, or what is in force."""
        wanted = node("get-configuration")
        wanted.set("database", "committed" if committed else "candidate")
        found = self._ask(wanted).find("configuration")
        return node("configuration") if found is None else found

    def load(self, change: etree._Element) -> None:
        wanted = node("load-configuration", change)
        wanted.set("action", "replace")
        self._ask(wanted)

    def commit(self, confirm_minutes: int) -> None:
        """Bring the candidate into force; the device takes it back when `confirm` does not follow in time."""
        self._ask(node("commit-configuration", node("confirmed"), node("confirm-timeout", str(confirm_minutes))))

    def confirm(self) -> None:
        self._ask(node("commit-configuration"))

    def system(self) -> dict[str, str]:
        found = self._ask(node("get-system-information")).find("system-information")
        return {} if found is None else {str(field.tag): field.text or "" for field in found}

    def interface(self, name: str) -> dict[str, str]:
        """A physical interface; current-physical-address is its MAC. Empty when the device does not show it.

        Source: Junos XML API Explorer, get-interface-information.
        """
        found = self._ask(node("get-interface-information", node("interface-name", name)))
        shown = found.find("interface-information/physical-interface")
        return {} if shown is None else {str(field.tag): (field.text or "").strip() for field in shown}

    def counters(self, filter_name: str) -> dict[str, tuple[int, int]]:
        """Packets and bytes by counter; none for a filter that is not in use."""
        answer = self._ask(node("get-firewall-filter-information", node("filtername", filter_name)))
        return {
            one.findtext("counter-name") or "": (
                int(one.findtext("packet-count") or 0),
                int(one.findtext("byte-count") or 0),
            )
            for one in answer.iter("counter")
        }

    def certificates(self, network: str) -> set[str]:
        """Identifiers of the device's own certificates that belong to a network's entries.

        Source: Junos CLI reference, show security pki local-certificate.
        """
        found = re.findall(r"^ *Certificate identifier: *(\S+) *$", self._command(f"show {CERTIFICATES}"), re.MULTILINE)
        return {name for name in found if name.startswith(f"{network}-")}

    def load_certificate(self, name: str, certificate: str, private_key: str) -> None:
        """Both are PEM; they lie in files of the device for as long as it takes."""
        files = {f"{FOLDER}/{name}.crt": certificate, f"{FOLDER}/{name}.key": private_key}
        try:
            for path, text in files.items():
                encoded = base64.b64encode(text.encode()).decode()
                parts = node("encoding", "base64"), node("filename", path), node("permission", "0600")
                self._ask(node("file-put", node("delete-if-exist"), *parts, node("file-contents", encoded)))
            where = "filename {} key {}".format(*files)
            self._command(f"request {CERTIFICATES} load certificate-id {name} {where}")
        finally:
            for path in files:
                with suppress(RPCError):  # it was never made
                    self._ask(node("file-delete", node("path", path)))

    def forget_certificate(self, name: str) -> None:
        self._command(f"clear {CERTIFICATES} certificate-id {name}")

    def _command(self, line: str) -> str:
        """What a command of the operational mode answers, as text."""
        wanted = node("command", line)
        wanted.set("format", "text")
        return "".join(str(part) for part in self._ask(wanted).itertext())

    def _ask(self, rpc: etree._Element) -> etree._Element:
        reply = self._connection.rpc(rpc)
        return without_namespaces(etree.fromstring(str(reply).encode()))


@contextmanager
def conversation(settings: SrxSettings) -> Iterator[SrxSession]:
    """A session that ends with the block; what it did not commit is gone then.

    :raises DeviceUnreachableError: no connection, or it broke off
    :raises DeviceBusyError: somebody else has locked the configuration
    :raises DeviceRefusedError: the login or a change was refused
    """
    where = f"The device {settings.host}"
    try:
        with _connected(settings) as connection:
            yield SrxSession(connection)
    except AuthenticationError as error:
        raise DeviceRefusedError(f"{where} refuses the login of {settings.user}.") from error
    except RPCError as error:
        if error.tag == "lock-denied":
            raise DeviceBusyError(f"{where} is being configured by somebody else: {error.message}.") from error
        raise DeviceRefusedError(f"{where} refused the change: {_reason(error)}.") from error
    except (TransportError, OperationError, OSError, EOFError) as error:
        raise DeviceUnreachableError(f"{where} does not answer on port {settings.port}: {error}.") from error


@contextmanager
def _connected(settings: SrxSettings) -> Iterator[Any]:
    keys = {"hostkey_b64": settings.host_key} if settings.host_key else {"hostkey_verify": False}
    connection = manager.connect(
        host=settings.host,
        port=settings.port,
        username=settings.user,
        password=settings.password,
        timeout=settings.timeout,
        allow_agent=False,
        look_for_keys=False,
        device_params={"name": "junos"},
        **keys,
    )
    connection.timeout = settings.timeout
    connection.huge_tree = True
    try:
        yield connection
    finally:
        if connection.connected:
            connection.close_session()


def _reason(error: RPCError) -> str:
    """The device's own words, with the statement that they are about."""
    info = etree.fromstring(error.info.encode()) if error.info else None
    element = "" if info is None else (info.findtext("{*}bad-element") or "").strip()
    parts = [error.message or error.tag, *([error.path] if error.path else []), *([f"at {element}"] if element else [])]
    return " ".join(part.strip() for part in parts)
