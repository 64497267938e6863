"""Calls of CloudStack's API over HTTP: signed, or in a session where a profile has a password only."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

from ui.shell.connection import opened, way_of
from ui.shell.errors import ApiError, AuthError, LateError, ReachError, UsageError
from ui.shell.profiles import Profile
from ui.shell.sessions import Session

if TYPE_CHECKING:
    import http.client

LONGEST_QUERY = 2000  # characters; proxies refuse much longer lines
EXPIRES_AFTER = 600  # seconds
CONNECT_TIMEOUT = 10.0  # seconds
OK, UNAUTHORIZED, CODE_WANTED = 200, 401, 511
_READS = re.compile(r"(get|list|query|find)\w+$")
_SECRET = re.compile(r"password|secret|token|privatekey|userdata|credential|sessionkey|2fa", re.IGNORECASE)
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


Ask = Callable[[str], str]
"""Prompt -> what the user says; secret, so without an echo."""


class Client:
    """One connection as one profile; not to be shared between threads.

    Without `ask` nobody can be asked for the code of a second factor. `trace` takes a line about each call.
    """

    def __init__(self, profile: Profile, timeout: float = 3600.0, ask: Ask | None = None) -> None:
        self.profile, self.timeout, self._ask = profile, timeout, ask
        self.trace: Callable[[str], None] | None = None
        address = urlsplit(profile.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UsageError(
                f"{profile.url or 'An empty text'} is no address of an API.",
                "It looks like http://HOST:8080/client/api.",
            )
        self._way = way_of(profile)
        self._connection: http.client.HTTPConnection | None = None
        self._session = Session(profile)

    def call(self, command: str, parameters: Mapping[str, str], timeout: float | None = None) -> dict[str, Any]:
        """What stands under the wrapper of the answer.

        :raises ApiError: the API refused it; AuthError when the keys do not count
        :raises ReachError: no answer can be had; LateError when it takes longer than `timeout` seconds
        """
        had_session = bool(self._session.key)
        if self._needs_session and not had_session and command != "login":
            self.log_in(self.profile.username, self.profile.password, self.profile.domain)
        try:
            return self._call(command, parameters, timeout or self.timeout)
        except AuthError:
            if not (self._needs_session and had_session):
                raise
        self._session.end()  # the server has ended it
        return self.call(command, parameters, timeout)

    @property
    def _needs_session(self) -> bool:
        return not self.profile.key and bool(self.profile.username)

    def _call(self, command: str, parameters: Mapping[str, str], timeout: float) -> dict[str, Any]:
        request, started = self.request(command, parameters), time.monotonic()
        status, body = self._send(request, timeout)
        if self.trace:
            told = " ".join(f"{name}={'***' if is_secret(name) else value}" for name, value in parameters.items())
            took = f"{(time.monotonic() - started) * 1000:.0f} ms"
            self.trace(f"{request.method} {command} {told} -> {status}, {len(body)} bytes, {took}".replace("  ", " "))
        return self._content(status, body, command)

    def request(self, command: str, parameters: Mapping[str, str]) -> Request:
        """The request as it is sent: secrets, long texts and changes in the body of a POST."""
        sent = {**parameters, "command": command, "response": "json"}
        if self.profile.key:
            expires = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(time.time() + EXPIRES_AFTER))
            sent |= {"apiKey": self.profile.key, "signatureVersion": "3", "expires": expires}
            sent["signature"] = sign(self.profile.secret, sent)
        if self._session.key:
            sent["sessionkey"] = self._session.key
        text = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in sent.items())
        secret = any(is_secret(name) for name in parameters)
        if secret or len(text) > LONGEST_QUERY or not _READS.match(command):
            return Request("POST", self.profile.url, text)
        return Request("GET", f"{self.profile.url}?{text}", "")

    def log_in(self, username: str, password: str, domain: str) -> dict[str, Any]:
        """Begin a session; later calls of a profile without keys belong to it.

        :raises AuthError: refused, or there is nobody to ask for the code of the second factor
        """
        answer = self.call("login", {"username": username, "password": password, "domain": domain or "/"})
        self._session.key = str(answer.get("sessionkey", ""))
        if str(answer.get("is2faenabled")) == "true" and str(answer.get("is2faverified")) != "true":
            if self._ask is None:
                raise AuthError(
                    UNAUTHORIZED,
                    f"{username} has a second factor, whose code nobody can be asked for here.",
                    "Run a command on a terminal first, or use a profile with keys: pileus login",
                )
            code = self._ask(self._wanted_factor(answer) + f"Code of the second factor of {username}: ")
            self._call("validateUserTwoFactorAuthenticationCode", {"codefor2fa": code.strip()}, self.timeout)
        self._session.keep()
        return answer

    def _wanted_factor(self, login: dict[str, Any]) -> str:
        """What to tell a user who must have a second factor and has none: the secret of the one set up now."""
        if login.get("providerfor2fa"):
            return ""
        made = self._call("setupUserTwoFactorAuthentication", {"enable": "true"}, self.timeout).get("setup2fa", {})
        return f"You must have a second factor. The key for your authenticator: {made.get('secretcode')}\n"

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
            self._connection = opened(self.profile, self._way, min(timeout, CONNECT_TIMEOUT))
        connection = self._connection
        connection.sock.settimeout(timeout)
        headers = {"Accept": "application/json", **({"Cookie": self._session.cookies} if self._session.cookies else {})}
        if request.body:
            headers |= _FORM
        if self._way.takes_whole_addresses:
            headers |= self._way.headers
        connection.request(request.method, self._target(request.url), request.body or None, headers)
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self._session.take(cookie.partition(";")[0])
        return answer.status, answer.read()

    def _target(self, url: str) -> str:
        if self._way.takes_whole_addresses:
            return url
        address = urlsplit(url)
        return f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"

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
