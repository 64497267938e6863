"""Requests drawn by chance: calls with good and bad parameters, and requests that are none."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from manager.api.command import COMMANDS, ApiCommand
from manager.api.fields import MapList
from tests.client import Caller, signed
from tests.fuzz.values import Values

FORM = "application/x-www-form-urlencoded"
TYPES = (FORM, "", "application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", "\xff")
PATHS = ("/client/api", "/client/api/", "/client/api/x/y", "/docs/", "/docs/commands/listZones", "/docs/%2e%2e/x",
         "/docs/\xff", "/healthz", "/", "/client", "/docs/style.css", "/docs/openapi.json")  # fmt: skip
NEAR = {("addLdapConfiguration", "hostname"): "127.0.0.1"}
"""By command and parameter: what is asked while requests are answered. Nobody elsewhere is to hear of them."""
RAW_SHARE, BAD_SIGNATURE_SHARE, UNKNOWN_COMMAND_SHARE = 0.2, 0.05, 0.03


@dataclass(frozen=True)
class Shot:
    """A request as it goes to the application."""

    method: str
    path: str
    query: bytes
    body: bytes = b""
    content_type: str = ""
    cookie: str = ""

    def environment(self) -> dict[str, Any]:
        """The request as a WSGI server hands it over."""
        return {
            "REQUEST_METHOD": self.method, "SCRIPT_NAME": "", "PATH_INFO": self.path,
            "QUERY_STRING": self.query.decode("latin-1"), "CONTENT_LENGTH": str(len(self.body)),
            "CONTENT_TYPE": self.content_type, "HTTP_COOKIE": self.cookie, "REMOTE_ADDR": "192.0.2.9",
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http", "wsgi.input": BytesIO(self.body), "wsgi.errors": sys.stderr,
            "wsgi.multithread": False, "wsgi.multiprocess": False, "wsgi.run_once": False,
        }  # fmt: skip


class Requests:
    """An endless source of requests; the same for the same `random`."""

    def __init__(
        self, random: Random, values: Values, callers: Mapping[str, Caller], session: Mapping[str, str]
    ) -> None:
        """`session` has the two cookies of a login."""
        self.random, self.values, self.session = random, values, session
        self.callers = list(callers.values())
        self.names = sorted(COMMANDS)

    def draw(self) -> Shot:
        return self._raw() if self.random.random() < RAW_SHARE else self._call()

    def _call(self) -> Shot:
        pick, chance = self.random.choice, self.random.random
        api = COMMANDS[pick(self.names)]
        self.values.noise = pick((0.0, 0.0, 0.05, 0.3))
        given = {
            "command": api.name,
            "response": pick(("json", "json", "json", "JSON", "xml", "x")),
        } | self._parameters(api)
        if chance() < UNKNOWN_COMMAND_SHARE:
            given["command"] = pick(("", api.name.lower(), "listUnicorns", self.values.text()))
        if chance() < 0.05:
            given[pick(("page", "PAGE", "Id", "a[b", "[0].x", "x[0]", "tags[0].", "expires", "_"))] = self.values.text()
        if chance() < 0.1:
            given |= {"signatureVersion": "3", "expires": pick(("2199-01-01T00:00:00Z", "2001-01-01T00:00:00Z", "x"))}
        if chance() < 0.1:
            cookie = "; ".join(f"{name}={value}" for name, value in self.session.items())
            return replace(self._shot(given | {"sessionkey": self.session["sessionkey"]}), cookie=cookie)
        if not api.is_open or chance() < 0.1:
            given = signed(pick(self.callers), given)
        if chance() < BAD_SIGNATURE_SHARE:
            given[pick(("signature", "apiKey", "sessionkey", "SIGNATURE"))] = self.values.text()
        return self._shot(given)

    def _parameters(self, api: ApiCommand) -> dict[str, str]:
        found: dict[str, str] = {}
        optional = self.random.choice((0.0, 0.15, 0.4))
        for name, parameter in api.parameters.items():
            if self.random.random() > (1 - self.values.noise / 5 if parameter.required else optional):
                continue
            if (api.name, name) in NEAR:
                found[name] = NEAR[api.name, name]
            elif isinstance(parameter, MapList):
                found |= self.values.fields(name, parameter)
            else:
                found[name] = self.values.of(parameter)
        return found

    def _shot(self, given: dict[str, str]) -> Shot:
        text = urlencode(given, encoding="utf-8", errors="surrogatepass").encode()
        draw = self.random.random()
        if draw < 0.6:
            return Shot("GET", "/client/api", text)
        if draw < 0.95:
            return Shot("POST", "/client/api", b"", text, FORM)
        return Shot(self.random.choice(("PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "X")), "/client/api", text)

    def _raw(self) -> Shot:
        pick = self.random.choice
        query = self.random.randbytes(pick((0, 1, 5, 40)))
        if pick((True, False)):
            query = quote(query, safe=pick(("&=", "&=[].", ""))).encode()
        if pick((True, False)):
            query = b"command=" + pick(self.names).encode() + b"&response=json&" + query
        body = self.random.randbytes(pick((0, 0, 10, 3000)))
        cookie = pick(("", "JSESSIONID=x", "JSESSIONID=x; sessionkey=y", "=;=;\x7f"))
        return Shot(pick(("GET", "POST", "POST", "HEAD")), pick(PATHS), query, body, pick(TYPES), cookie)
