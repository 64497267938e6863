"""The calls of one NETCONF session.

Sources: RFC 6241 (base:1.0, candidate, confirmed-commit, validate); Junos XML Management Protocol Developer Guide
(open-configuration, load-configuration, commit-configuration, lock-configuration, get-configuration); Junos XML API
Explorer (get-system-information, get-interface-information, get-firewall-filter-information, file-delete); Junos OS
Automation Scripting User Guide (file-put).
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable

from lxml import etree

from devcloud.devices.junos.device import Candidate, Device
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.load import plain
from devcloud.devices.junos.schema import tag

MODEL, VERSION = "vsrx", "25.4R1.12"
DEFAULT_MINUTES = 10.0
SECONDS = 60.0


CALLS = {
    "lock": "_lock",
    "lock-configuration": "_lock",
    "unlock": "_unlock",
    "unlock-configuration": "_unlock",
    "open-configuration": "_open",
    "close-configuration": "_close",
    "load-configuration": "_load",
    "edit-config": "_edit",
    "commit": "_commit",
    "commit-configuration": "_commit",
    "validate": "_validate",
    "discard-changes": "_discard",
    "get-configuration": "_get_configuration",
    "get-config": "_get_config",
    "command": "_command",
    "file-delete": "_delete_file",
    "file-put": "_put_file",
    "get-system-information": "_system",
    "get-interface-information": "_interfaces",
    "get-firewall-filter-information": "_filter_counters",
    "close-session": "_end_session",
}
"""The method of Session that answers each call."""


class Session:
    """One client's; `end` gives back what it held."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._private: Candidate | None = None
        self.is_closed = False

    def answer(self, rpc: etree._Element) -> list[etree._Element]:
        """What stands in the rpc-reply.

        :raises RpcError: it is refused
        """
        name = tag(rpc)
        call = CALLS.get(name)
        if call is None:
            raise RpcError("syntax error", "unknown-element", element=name)
        answer: Callable[[etree._Element], list[etree._Element] | None] = getattr(self, call)
        return answer(rpc) or [etree.Element("ok")]

    def end(self) -> None:
        self._private = None
        if self._device.locked_by is self:
            self._device.locked_by = None
            self._device.shared = self._device.candidate()

    @property
    def _candidate(self) -> Candidate:
        if self._private is None:
            self._refuse_when_locked()
        return self._private or self._device.shared

    def _refuse_when_locked(self) -> None:
        if self._device.locked_by not in (None, self):
            raise RpcError("configuration database locked by another session", "lock-denied")

    def _lock(self, _: etree._Element) -> None:
        self._refuse_when_locked()
        if self._device.shared.is_changed():
            raise RpcError("configuration database modified", "lock-denied")
        self._device.locked_by = self

    def _unlock(self, _: etree._Element) -> None:
        if self._device.locked_by is not self:
            raise RpcError("configuration database not locked", "operation-failed")
        self.end()

    def _open(self, rpc: etree._Element) -> None:
        if [tag(child) for child in rpc] != ["private"]:
            raise RpcError("syntax error", "unknown-element", element=tag(rpc[0]) if len(rpc) else "open-configuration")
        self._refuse_when_locked()
        if self._private is not None:
            raise RpcError("private configuration database is already open")
        self._private = self._device.candidate()

    def _close(self, _: etree._Element) -> None:
        if self._private is None:
            raise RpcError("private configuration database is not open")
        self._private = None

    def _load(self, rpc: etree._Element) -> list[etree._Element]:
        results = etree.Element("load-configuration-results")
        try:
            if (number := rpc.get("rollback")) is not None:
                self._candidate.load(self._device.rolled_back(_number(number)), "override")
            else:
                if rpc.get("format", "xml") != "xml":
                    raise RpcError(f"format {rpc.get('format')} is not supported", "invalid-value", element="format")
                self._candidate.load(_child(rpc, "configuration"), rpc.get("action", "merge"))
        except RpcError as error:
            results.append(error_element(error))
        else:
            etree.SubElement(results, "ok")
        return [results]

    def _edit(self, rpc: etree._Element) -> None:
        default = rpc.findtext("{*}default-operation") or "merge"
        action = "override" if _child(rpc, "target").find("{*}running") is not None else default
        if action not in ("merge", "replace"):
            raise RpcError("only the candidate can be edited, by merge or replace", "invalid-value", element="target")
        self._candidate.load(_child(_child(rpc, "config"), "configuration"), action)

    def _commit(self, rpc: etree._Element) -> None:
        """Of both protocols: Junos counts the time to confirm in minutes, RFC 6241 in seconds."""
        candidate = self._candidate
        if rpc.find("{*}check") is not None:
            self._device.check(candidate)
            return
        minutes = 0.0
        if rpc.find("{*}confirmed") is not None:
            timeout = rpc.findtext("{*}confirm-timeout")
            unit = SECONDS if tag(rpc) == "commit" else 1.0
            minutes = DEFAULT_MINUTES if timeout is None else _number(timeout) / unit
        self._device.commit(candidate, minutes)

    def _validate(self, _: etree._Element) -> None:
        self._device.check(self._candidate)

    def _discard(self, _: etree._Element) -> None:
        if self._private is not None:
            self._private = self._device.candidate()
        else:
            self._refuse_when_locked()
            self._device.shared = self._device.candidate()

    def _get_configuration(self, rpc: etree._Element) -> list[etree._Element]:
        if rpc.get("compare") is not None or rpc.get("format", "xml") != "xml":
            raise RpcError("only the configuration itself, as XML, can be asked for", "invalid-value", element="format")
        is_committed = rpc.get("database") == "committed"
        found = self._device.committed if is_committed else (self._private or self._device.shared).tree
        wanted = next((child for child in rpc if tag(child) == "configuration"), None)
        return [copy.deepcopy(found) if wanted is None else selected(found, plain(wanted))]

    def _get_config(self, rpc: etree._Element) -> list[etree._Element]:
        is_running = _child(rpc, "source").find("{*}running") is not None
        found = self._device.committed if is_running else (self._private or self._device.shared).tree
        data = etree.Element("data")
        wanted = rpc.find("{*}filter/{*}configuration")
        data.append(copy.deepcopy(found) if wanted is None else selected(found, plain(wanted)))
        return [data]

    def _system(self, _: etree._Element) -> list[etree._Element]:
        found = etree.Element("system-information")
        name = self._device.committed.findtext("system/host-name") or "srx"
        for field, text in (
            ("hardware-model", MODEL),
            ("os-name", "junos"),
            ("os-version", VERSION),
            ("host-name", name),
        ):
            etree.SubElement(found, field).text = text
        return [found]

    def _interfaces(self, rpc: etree._Element) -> list[etree._Element]:
        for child in rpc:
            if tag(child) != "interface-name":
                raise RpcError("syntax error", "unknown-element", element=tag(child))
        ports = self._device.plane.ports()
        wanted = rpc.findtext("{*}interface-name")
        if wanted is not None and wanted not in ports:
            raise RpcError(f"device {wanted} not found", "invalid-value", element="interface-name")
        found = etree.Element("interface-information")
        for name, mac in sorted(ports.items()):
            if wanted in (None, name):
                one = etree.SubElement(found, "physical-interface")
                told = ("name", name), ("current-physical-address", mac), ("hardware-physical-address", mac)
                for field, text in told:
                    etree.SubElement(one, field).text = text
        return [found]

    def _filter_counters(self, rpc: etree._Element) -> list[etree._Element]:
        wanted = rpc.findtext("{*}filtername") or rpc.findtext("{*}filter")
        found = etree.Element("firewall-information")
        filters: dict[str, etree._Element] = {}
        for (name, counter), (packets, octets) in sorted(self._device.plane.counters().items()):
            if wanted not in (None, name):
                continue
            if name not in filters:
                filters[name] = etree.SubElement(found, "filter-information")
                etree.SubElement(filters[name], "filter-name").text = name
            one = etree.SubElement(filters[name], "counter")
            for field, text in (("counter-name", counter), ("packet-count", packets), ("byte-count", octets)):
                etree.SubElement(one, field).text = str(text)
        return [found]

    def _command(self, rpc: etree._Element) -> list[etree._Element]:
        if rpc.get("format") != "text":
            raise RpcError("commands are answered as text alone", "invalid-value", element="format")
        output = etree.Element("output")
        output.text = self._device.pki.command((rpc.text or "").strip())
        return [output]

    def _put_file(self, rpc: etree._Element) -> None:
        if rpc.findtext("{*}encoding") != "base64":
            raise RpcError("files are taken in base64 alone", "invalid-value", element="encoding")
        name = _child(rpc, "filename").text or ""
        if name in self._device.pki.files and rpc.find("{*}delete-if-exist") is None:
            raise RpcError(f"file {name} already exists", kind="application")
        self._device.pki.files[name] = base64.b64decode(_child(rpc, "file-contents").text or "")

    def _delete_file(self, rpc: etree._Element) -> None:
        name = _child(rpc, "path").text or ""
        if self._device.pki.files.pop(name, None) is None:
            raise RpcError(f"{name}: No such file or directory", kind="application")

    def _end_session(self, _: etree._Element) -> None:
        self.is_closed = True


def error_element(error: RpcError) -> etree._Element:
    found = etree.Element("rpc-error")
    fields = [("error-type", error.kind), ("error-tag", error.tag), ("error-severity", "error")]
    fields += [("error-path", error.path)] if error.path else []
    for name, text in [*fields, ("error-message", error.message)]:
        etree.SubElement(found, name).text = text
    if error.element:
        etree.SubElement(etree.SubElement(found, "error-info"), "bad-element").text = error.element
    return found


def selected(found: etree._Element, wanted: etree._Element) -> etree._Element:
    """The part of a configuration that a filter names: a leaf with a text picks entries of lists by it."""
    result = etree.Element(found.tag)
    keys = [child for child in wanted if not len(child) and child.text]
    below = [child for child in wanted if len(child) or not child.text]
    for child in found:
        if not below or any(child.tag == key.tag for key in keys):
            result.append(copy.deepcopy(child))
            continue
        for one in below:
            if one.tag == child.tag and all(
                child.findtext(key.tag) == key.text for key in one if key.text and not len(key)
            ):
                result.append(selected(child, one) if len(one) else copy.deepcopy(child))
                break
    return result


def _child(element: etree._Element, name: str) -> etree._Element:
    for child in element:
        if tag(child) == name:
            return child
    raise RpcError(f"missing {name}", "missing-element", element=name)


def _number(value: str) -> int:
    if not value.strip().isdecimal():
        raise RpcError(f"invalid value '{value}'", "invalid-value")
    return int(value)
