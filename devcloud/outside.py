"""The internet, as far as DevCloud has one: a web server that tells each client its address, and a name server."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from devcloud import underlay
from devcloud.paths import REPOSITORY, Site
from devcloud.supervisor import Process


class TellAddress(BaseHTTPRequestHandler):
    """Answers every GET with the client's address and a line feed."""

    def do_GET(self) -> None:
        content = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def processes(site: Site) -> list[Process]:
    """Both servers, in the namespace of the outside."""
    web = [sys.executable, "-m", "devcloud.outside", underlay.INTERNET_HOST]
    names = [
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--bind-interfaces"),
        *(f"--listen-address={underlay.PUBLIC_GATEWAY},{underlay.INTERNET_HOST}", "--except-interface=lo"),
        f"--host-record={underlay.INTERNET_NAME},{underlay.INTERNET_HOST}",
        f"--local=/{underlay.INTERNET_NAME.partition('.')[2]}/",
        *("--user=root", "--pid-file=", "--log-facility=-", "--log-queries"),
    ]
    return [
        Process("outside-web", underlay.enter(site.outside, web), directory=str(REPOSITORY)),
        Process("outside-dns", underlay.enter(site.outside, names)),
    ]


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], 80), TellAddress).serve_forever()
