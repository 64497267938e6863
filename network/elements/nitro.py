"""A client of NITRO, the REST protocol of NetScaler. Source: NITRO API reference."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter

from network.errors import DeviceRefusedError, DeviceUnreachableError

BAD_LOGIN = 354
MISSING = (258, 344)
EXISTS = 273


@dataclass(frozen=True)
class NetscalerSettings:
    """`fingerprint` is the SHA-256 of the device's certificate in hexadecimal; with '' an authority must vouch for it.

    `interface` is where VLANs come in. `timeout` is in seconds, for each call.
    """

    host: str
    user: str
    password: str = field(repr=False, metadata={"secret": True})
    port: int = 443
    fingerprint: str = ""
    interface: str = "1/2"
    timeout: float = 30


class NitroRefusedError(DeviceRefusedError):
    """`code` is NITRO's errorcode."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _Pinned(HTTPAdapter):
    """Believes one certificate, whoever signed it."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        # A context of our own: that of urllib3 reads all authorities of the host for each connection.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        super().init_poolmanager(*arguments, **options, assert_fingerprint=self._fingerprint, ssl_context=context)


class Nitro:
    """Calls of one session. All raise the errors of `conversation`."""

    def __init__(self, session: requests.Session, settings: NetscalerSettings) -> None:
        self._session, self._settings = session, settings

    def every(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind."""
        bulk = "?bulkbindings=yes" if kind.endswith("_binding") else ""
        try:
            found: list[dict[str, Any]] = self._call("GET", f"config/{kind}{bulk}").get(kind, [])
        except NitroRefusedError as error:
            if error.code in MISSING:
                return []
            raise
        return found

    def one(self, kind: str) -> dict[str, Any]:
        """Of a kind that there is once, such as nsversion."""
        found: dict[str, Any] = self._call("GET", f"config/{kind}").get(kind, {})
        return found

    def files(self, folder: str) -> list[str]:
        where = quote(folder, safe="")
        found = self._call("GET", f"config/systemfile?args=filelocation:{where}").get("systemfile", [])
        return [str(one["filename"]) for one in found]

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        """One that is there already is no error."""
        method = "PUT" if kind.endswith("_binding") else "POST"
        try:
            self._call(method, f"config/{kind}", {kind: dict(content)})
        except NitroRefusedError as error:
            if error.code != EXISTS or method == "POST":
                raise

    def update(self, kind: str, content: Mapping[str, Any]) -> None:
        self._call("PUT", f"config/{kind}", {kind: dict(content)})

    def delete(self, kind: str, name: str, arguments: Mapping[str, str] | None = None) -> None:
        """One that is gone is no error."""
        said = ",".join(f"{key}:{quote(value, safe='')}" for key, value in (arguments or {}).items())
        try:
            self._call("DELETE", f"config/{kind}/{quote(name, safe='')}" + (f"?args={said}" if said else ""))
        except NitroRefusedError as error:
            if error.code not in MISSING:
                raise

    def act(self, kind: str, action: str, content: Mapping[str, Any]) -> None:
        self._call("POST", f"config/{kind}?action={action}", {kind: dict(content)})

    def statistics(self, kind: str, name: str) -> dict[str, Any]:
        found = self._call("GET", f"stat/{kind}/{quote(name, safe='')}").get(kind, [])
        return dict(found[0]) if found else {}

    def log_in(self) -> None:
        login = {"username": self._settings.user, "password": self._settings.password}
        self._call("POST", "config/login", {"login": login})

    def log_out(self) -> None:
        self._call("POST", "config/logout", {"logout": {}})

    def _call(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        settings = self._settings
        url = f"https://{settings.host}:{settings.port}/nitro/v1/{path}"
        where = f"The device {settings.host}"
        try:
            answered = self._session.request(method, url, json=content, timeout=settings.timeout)
            found: dict[str, Any] = answered.json() if answered.content else {}
        except (requests.RequestException, ValueError) as error:
            raise DeviceUnreachableError(f"{where} does not answer on port {settings.port}: {error}.") from error
        code = int(found.get("errorcode", 0))
        if code == BAD_LOGIN and path == "config/login":
            raise NitroRefusedError(f"{where} refuses the login of {settings.user}.", code)
        if code or not answered.ok:
            said = found.get("message") or answered.reason
            raise NitroRefusedError(f"{where} refused to {method.lower()} {path}: {said} (error {code}).", code)
        return found


@contextmanager
def conversation(settings: NetscalerSettings) -> Iterator[Nitro]:
    """A session that ends with the block.

    :raises DeviceUnreachableError: no connection, it broke off, or the certificate is not the device's
    :raises NitroRefusedError: the login or a call was refused
    """
    with requests.Session() as session:
        session.trust_env = False
        if settings.fingerprint:
            session.mount("https://", _Pinned(settings.fingerprint))
            session.verify = False
        nitro = Nitro(session, settings)
        nitro.log_in()
        try:
            yield nitro
        finally:
            nitro.log_out()
