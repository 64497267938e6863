"""Downloads over TLS check the certificate for the name, though they connect to a pinned address."""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from storage.checksums import Digests
from storage.errors import SourceLacking
from storage.images.base import no_progress
from storage.images.fetch import FetchLimits, fetch

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
CONTENT = b"contents" * 1000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    hosts: list[str]

    def handle_error(self, *_: object) -> None:
        """A client that refuses the certificate is what the tests want."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for the name localhost and its key."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    return tmp_path / "cert.pem"


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.hosts = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def download(host: str, server: Server, target: Path) -> bytes:
    limits = FetchLimits(LOOPBACK, 1 << 20, 10, 5)
    with target.open("wb") as file:
        fetch(f"https://{host}:{server.server_port}/image?a=1", file, limits, Digests(None), no_progress)
    return target.read_bytes()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate_of_the_name_is_taken(server: Server, tmp_path: Path) -> None:
    assert download("localhost", server, tmp_path / "image") == CONTENT
    assert server.hosts == [f"localhost:{server.server_port}"]


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_name_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceLacking, match="certificate"):
        download("127.0.0.1", server, tmp_path / "image")
    assert server.hosts == []


def test_a_certificate_that_nobody_vouches_for_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceLacking, match="certificate"):
        download("localhost", server, tmp_path / "image")
    assert server.hosts == []
