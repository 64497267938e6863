"""A cloud by others: a server on loopback that answers as CloudStack does, with commands that Pileus does not have."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

APIS = json.loads((Path(__file__).parent / "foreign_apis.json").read_text())
Reply = dict[str, Any] | tuple[int, Any] | Callable[[dict[str, str]], Any]


class Foreign:
    """`replies[command]` is what stands under the wrapper, or (status, body), or a function of the parameters."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: dict[str, Reply] = {"listApis": {"count": len(APIS["api"]), "api": APIS["api"]}}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def sent(self, command: str) -> list[dict[str, str]]:
        """The parameters of every call of `command`, without those that only sign it."""
        signing = ("command", "response", "apiKey", "signature", "signatureVersion", "expires")
        calls = [given for _, given in self.asked if given["command"] == command]
        return [{name: value for name, value in given.items() if name not in signing} for given in calls]

    def answer(self, method: str, given: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((method, given))
        command = given["command"]
        reply: Any = self.replies.get(command, (401, {"errorcode": 401, "errortext": "unable to verify"}))
        reply = reply(given) if callable(reply) else reply
        status, content = reply if isinstance(reply, tuple) else (200, reply)
        return status, content if isinstance(content, str) else {f"{command.lower()}response": content}


@contextmanager
def foreign_cloud(secured: ssl.SSLContext | None = None) -> Iterator[Foreign]:
    """With `secured` it speaks TLS, as localhost."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply("GET", urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._reply("POST", self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _reply(self, method: str, text: str) -> None:
            status, body = cloud.answer(method, dict(parse_qsl(text, keep_blank_values=True)))
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing on the standard error of the tests."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that refuses the certificate, or leaves early, is what some tests are about."""
            if not isinstance(sys.exc_info()[1], OSError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme, host = ("https", "localhost") if secured else ("http", "127.0.0.1")
    if secured:
        server.socket = secured.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    cloud = Foreign(f"{scheme}://{host}:{server.server_port}/client/api")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
