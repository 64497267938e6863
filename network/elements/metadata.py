"""The metadata and password server of a virtual router; a program of its own that needs the standard library only.

It knows the guest by the source address alone, which the switch makes trustworthy, and believes no header about it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from socketserver import TCPServer
from typing import Any, ClassVar

METADATA_PORT = 80
PASSWORD_PORT = 8080
MAX_CONNECTIONS = 64
VERSION_DEPTH, NAME_DEPTH = 1, 3


class State:
    """The guests by address, read again when the file changes, and whose password was fetched already."""

    def __init__(self, path: Path) -> None:
        self._path, self._saved = path, path.with_name("passwords.json")
        self._seen: tuple[int, int] = (0, 0)
        self._guests: dict[str, Any] = {}
        self._lock = threading.Lock()

    def guest(self, address: str) -> dict[str, Any] | None:
        with self._lock:
            found = self._path.stat()
            if self._seen != (found.st_ino, found.st_mtime_ns):
                self._guests = json.loads(self._path.read_text())
                self._seen = (found.st_ino, found.st_mtime_ns)
            return self._guests.get(address)

    def password(self, guest: dict[str, Any]) -> str:
        """'' when there is none or the guest has said that it saved it."""
        with self._lock:
            return "" if self._fetched().get(guest["nic"]) == _digest(guest) else str(guest["password"])

    def forget_password(self, guest: dict[str, Any]) -> None:
        with self._lock:
            fetched = {**self._fetched(), guest["nic"]: _digest(guest)}
            fresh = self._saved.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(fetched))
            fresh.replace(self._saved)

    def _fetched(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._saved.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found


def _digest(guest: dict[str, Any]) -> str:
    return hashlib.sha256(f"{guest['nic']}:{guest['password']}".encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    timeout = 10
    server_version, sys_version = "metadata", ""
    state: ClassVar[State]

    def do_GET(self) -> None:
        guest = self.state.guest(self.client_address[0])
        body = None if guest is None else self.body(guest)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def body(self, guest: dict[str, Any]) -> bytes | None:
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by http.server)
        """Nothing: guests must not be able to fill the host's disk."""


class MetadataHandler(Handler):
    def body(self, guest: dict[str, Any]) -> bytes | None:
        """/{version}/meta-data/{name} and /{version}/user-data, and what lies below any of their parents."""
        match [part for part in self.path.partition("?")[0].split("/") if part]:
            case []:
                return b"latest\n"
            case [_]:
                return b"meta-data\nuser-data\n"
            case [_, "meta-data"]:
                return "".join(f"{name}\n" for name in sorted(guest["meta-data"])).encode()
            case [_, "meta-data", name]:
                found = guest["meta-data"].get(name)
                return None if found is None else str(found).encode()
            case [_, "user-data"]:
                return base64.b64decode(guest["user-data"])
            case _:
                return None


class PasswordHandler(Handler):
    def body(self, guest: dict[str, Any]) -> bytes | None:
        match self.headers.get("DomU_Request"):
            case "send_my_password":
                return (self.state.password(guest) or "saved_password").encode()
            case "saved_password":
                self.state.forget_password(guest)
                return b"saved_password"
            case _:
                return b"bad_request"


class Server(ThreadingHTTPServer):
    """Bounded, as each connection is a thread."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS
    _free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Nothing, as for `log_message`: a guest may break off as often as it likes."""

    def server_bind(self) -> None:
        """Without the base's look-up of the host's name, which would ask the DNS."""
        TCPServer.server_bind(self)


def main() -> None:
    parser = argparse.ArgumentParser(description="Metadata and passwords of the guests of one network.")
    parser.add_argument("--state", type=Path, required=True, help="JSON file: guests by address")
    parser.add_argument("--listen", action="append", required=True, help="address to serve on; may be given again")
    options = parser.parse_args()
    Handler.state = State(options.state)
    servers = [
        Server((address, port), handler)
        for address in options.listen
        for port, handler in ((METADATA_PORT, MetadataHandler), (PASSWORD_PORT, PasswordHandler))
    ]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
