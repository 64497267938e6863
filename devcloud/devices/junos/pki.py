"""What the device has besides its configuration: files that were put on it, and its own certificates with their keys.

Source: Junos CLI reference, request/show/clear security pki local-certificate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from lxml import etree

from devcloud.devices.junos.errors import RpcError
from devcloud.devices.linux import PlaneError

NAME = r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})"
FILE = r"/[A-Za-z0-9_./-]+"


@dataclass
class Pki:
    """Certificates lie in `home`; files are forgotten with the program."""

    home: Path
    files: dict[str, bytes] = field(default_factory=dict)

    def command(self, line: str) -> str:
        """What a command of the operational mode answers.

        :raises RpcError: there is no such command, or it fails
        """
        for pattern, act in COMMANDS:
            match = re.fullmatch(f"(?:request |show |clear )security pki local-certificate{pattern}", line)
            if match and line.startswith(act.__name__.lstrip("_").partition("_")[0]):
                return act(self, **match.groupdict())
        raise RpcError("syntax error", "unknown-element", element="command")

    def check(self, configuration: etree._Element) -> None:
        """:raises RpcError: a policy names a certificate that is not there"""
        for policy in configuration.findall("security/ike/policy"):
            name = policy.findtext("certificate/local-certificate")
            if name is not None and not self._path(name).exists():
                path = f"[edit security ike policy {policy.findtext('name')} certificate]"
                message = f"Local certificate {name} is not loaded"
                raise RpcError(message, kind="application", path=path, element="local-certificate")

    def pair(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and private key, in DER.

        :raises PlaneError: it is not there
        """
        try:
            found = json.loads(self._path(name).read_text())
        except OSError as error:
            raise PlaneError(f"local certificate {name} is not loaded") from error
        certificate = x509.load_pem_x509_certificate(found["certificate"].encode())
        key = load_pem_private_key(found["key"].encode(), None)
        return certificate.public_bytes(Encoding.DER), key.private_bytes(
            Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    def _path(self, name: str) -> Path:
        return self.home / f"{name}.json"

    def _request_load(self, name: str, certificate: str, key: str) -> str:
        if self._path(name).exists():
            raise RpcError(f"certificate-id {name} already exists", kind="application")
        try:
            texts = {"certificate": self.files[certificate].decode(), "key": self.files[key].decode()}
            own = x509.load_pem_x509_certificate(texts["certificate"].encode()).public_key()
            if load_pem_private_key(texts["key"].encode(), None).public_key() != own:
                raise RpcError("the private key does not belong to the certificate", kind="application")
        except KeyError as error:
            raise RpcError(f"could not open file {error.args[0]}", kind="application") from error
        except ValueError as error:
            raise RpcError(f"certificate could not be loaded: {error}", kind="application") from error
        self.home.mkdir(mode=0o700, exist_ok=True)
        self._path(name).touch(mode=0o600)
        self._path(name).write_text(json.dumps(texts))
        return "Local certificate loaded successfully\n"

    def _show(self, name: str | None = None) -> str:
        there = sorted(path.stem for path in self.home.glob("*.json"))
        return "".join(f"Certificate identifier: {one}\n" for one in there if name in (None, one))

    def _clear(self, name: str) -> str:
        if not self._path(name).exists():
            raise RpcError(f"certificate-id {name} does not exist", kind="application")
        self._path(name).unlink()
        return ""


COMMANDS: tuple[tuple[str, Callable[..., str]], ...] = (
    (rf" load certificate-id {NAME} filename (?P<certificate>{FILE}) key (?P<key>{FILE})", Pki._request_load),  # noqa: SLF001 - a table of its own methods
    (rf"(?: certificate-id {NAME})?", Pki._show),  # noqa: SLF001 - as above
    (rf" certificate-id {NAME}", Pki._clear),  # noqa: SLF001 - as above
)
"""What stands behind the words that all have in common, and the method; its name begins with the first word."""
