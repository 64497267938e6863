"""Calls of CloudStack's API over HTTP: signed, or in a session where a profile has a password only."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

from ui.shell.errors import ApiError, AuthError, LateError, ReachError, UsageError
from ui.shell.profiles import Profile

if TYPE_CHECKING:
    import http.client

LONGEST_QUERY = 2000  # characters; proxies refuse much longer lines
EXPIRES_AFTER = 600  # seconds
CONNECT_TIMEOUT = 10.0  # seconds
OK, UNAUTHORIZED, CODE_WANTED = 200, 401, 511
_READS = re.compile(r"(get|list|query|find)\w+$")
_SECRET = re.compile(r"password|secret|token|privatekey|userdata|credential|sessionkey|codefor2fa", re.IGNORECASE)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Request(NamedTuple):
    method: str
    url: str
    body: str


def is_secret(name: str) -> bool:
    """Whether the parameter `name` is kept out of addresses, history and screens."""
    return _SECRET.search(name) is not None


def escaped(value: str) -> str:
    """As Java's URLEncoder does it, with blanks as %20: what the server computes the signature over."""
    return quote(value, safe="*").replace("~", "%7E")


def sign(secret: str, parameters: Mapping[str, str]) -> str:
    import hmac

    text = "&".join(f"{name}={escaped(value)}" for name, value in sorted(parameters.items())).lower()
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


class Client:
    """One connection as one profile; not to be shared between threads."""

    def __init__(self, profile: Profile, timeout: float = 3600.0) -> None:
        self.profile, self.timeout = profile, timeout
        self.address = urlsplit(profile.url)
        if self.address.scheme not in ("http", "https") or not self.address.hostname:
            raise UsageError(
                f"{profile.url or 'An empty text'} is no address of an API.",
                "It looks like http://HOST:8080/client/api.",
            )
        self._connection: http.client.HTTPConnection | None = None
        self._session: dict[str, str] = {}
        self._cookies = ""

    def call(self, command: str, parameters: Mapping[str, str], timeout: float | None = None) -> dict[str, Any]:
        """What stands under the wrapper of the answer.

        :raises ApiError: the API refused it; AuthError when the keys do not count
        :raises ReachError: no answer can be had; LateError when it takes longer than `timeout` seconds
        """
        had_session = bool(self._session)
        if self._needs_session and not had_session and command != "login":
            self.log_in(self.profile.username, self.profile.password, self.profile.domain)
        try:
            return self._call(command, parameters, timeout or self.timeout)
        except AuthError:
            if not (self._needs_session and had_session):
                raise
        self._session = {}  # it has ended meanwhile
        return self.call(command, parameters, timeout)

    @property
    def _needs_session(self) -> bool:
        return not self.profile.key and bool(self.profile.username)

    def _call(self, command: str, parameters: Mapping[str, str], timeout: float) -> dict[str, Any]:
        return self._content(*self._send(self.request(command, parameters), timeout), command)

    def request(self, command: str, parameters: Mapping[str, str]) -> Request:
        """The request as it is sent: secrets, long texts and changes in the body of a POST."""
        sent = {**parameters, "command": command, "response": "json"}
        if self.profile.key:
            expires = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(time.time() + EXPIRES_AFTER))
            sent |= {"apiKey": self.profile.key, "signatureVersion": "3", "expires": expires}
            sent["signature"] = sign(self.profile.secret, sent)
        sent |= self._session
        text = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in sent.items())
        secret = any(is_secret(name) for name in parameters)
        if secret or len(text) > LONGEST_QUERY or not _READS.match(command):
            return Request("POST", self.profile.url, text)
        return Request("GET", f"{self.profile.url}?{text}", "")

    def log_in(self, username: str, password: str, domain: str) -> dict[str, Any]:
        """Begin a session; later calls of a profile without keys belong to it."""
        answer = self.call("login", {"username": username, "password": password, "domain": domain or "/"})
        self._session = {"sessionkey": str(answer.get("sessionkey", ""))}
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _send(self, request: Request, timeout: float) -> tuple[int, bytes]:
        """Status and body. A kept connection may have been closed by the server: then a reading call is sent again."""
        kept = self._connection is not None and self._connection.sock is not None and request.method == "GET"
        try:
            return self._exchange(request, timeout, fresh=not kept)
        except (_broken(), ConnectionError) as error:
            self.close()
            if not kept:
                raise ReachError(
                    f"{self.profile.url} broke the connection: {error or type(error).__name__}."
                ) from error
        except TimeoutError as error:
            self.close()
            raise LateError(f"{self.profile.url} has not answered within {timeout:g} seconds.") from error
        return self._send(request, timeout)

    def _exchange(self, request: Request, timeout: float, *, fresh: bool) -> tuple[int, bytes]:
        if fresh or self._connection is None or self._connection.sock is None:
            self.close()
            self._connection = self._connect(min(timeout, CONNECT_TIMEOUT))
        connection = self._connection
        connection.sock.settimeout(timeout)
        headers = {"Accept": "application/json", **({"Cookie": self._cookies} if self._cookies else {})}
        if request.body:
            headers |= _FORM
        connection.request(request.method, self._target(request.url), request.body or None, headers)
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self._keep(cookie.partition(";")[0])
        return answer.status, answer.read()

    def _keep(self, cookie: str) -> None:
        name = cookie.partition("=")[0]
        others = [one for one in self._cookies.split("; ") if one and one.partition("=")[0] != name]
        self._cookies = "; ".join([*others, cookie])

    def _target(self, url: str) -> str:
        address = urlsplit(url)
        if _proxy(self.address.scheme, self.address.hostname or "") and self.address.scheme == "http":
            return url
        return f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        scheme, host, port = self.address.scheme, self.address.hostname or "", self.address.port
        import http.client

        proxy = urlsplit(_proxy(scheme, host))
        near = (proxy.hostname or host, (proxy.port or 3128) if proxy.hostname else port)
        if scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                near[0], near[1], timeout=timeout, context=self._context()
            )
        else:
            connection = http.client.HTTPConnection(near[0], near[1], timeout=timeout)
        if proxy.hostname and scheme == "https":
            connection.set_tunnel(host, port or 443)
        try:
            connection.connect()
        except OSError as error:
            raise ReachError(
                f"{self.profile.url} cannot be reached: {error.strerror or error}.",
                f"The address comes from the profile {self.profile.name} ({self.profile.source}).",
            ) from error
        return connection

    def _context(self) -> Any:
        import ssl

        context = ssl.create_default_context()
        if not self.profile.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _content(self, status: int, body: bytes, command: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            answer = json.loads(body)
            if isinstance(answer, dict) and len(answer) == 1:
                content: Any = next(iter(answer.values()))
                if isinstance(content, dict) and (status == OK or "errorcode" in content):
                    return self._judged(status, content, command)
        start = " ".join(re.sub(rb"<[^>]*>", b" ", body[:2000]).decode("utf-8", "replace").split())[:160]
        raise ReachError(
            f"{self.profile.url} answered with HTTP status {status}, and not as CloudStack's API does.",
            f"It says: {start}" if start else "It says nothing more.",
        )

    def _judged(self, status: int, content: dict[str, Any], command: str) -> dict[str, Any]:
        if status == OK:
            return content
        code, text = int(content.get("errorcode", status)), str(content.get("errortext", "")).strip()
        if code == UNAUTHORIZED or command == "login":
            hint = f"The keys come from the profile {self.profile.name} ({self.profile.source})."
            raise AuthError(code, text, "" if command == "login" else hint)
        if code == CODE_WANTED:
            raise AuthError(code, text, "`login` asks for the code, and keeps keys that need none.")
        raise ApiError(code, text)


def _broken() -> type[Exception]:
    """What http.client raises for answers that are none. It is loaded when something is sent: completion is faster."""
    from http.client import HTTPException

    return HTTPException


def _proxy(scheme: str, host: str) -> str:
    """The proxy for `host` that the environment names, or nothing."""
    passed = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    if any(one.strip() and (one.strip() == "*" or host.endswith(one.strip().lstrip("*"))) for one in passed):
        return ""
    return os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY") or ""
