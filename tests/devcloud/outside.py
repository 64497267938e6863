"""What machines outside see of a DevCloud: two that try its public addresses, and somebody's at home with a VPN."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcloud import underlay
from devcloud.paths import Site
from devcloud.processes import CommandError, output
from tests.unit.network.vpn_sites import Person

NEAR, ELSEWHERE = underlay.PUBLIC_GATEWAY, underlay.INTERNET_HOST
"""Both addresses of the machine outside."""
GREETING = "SSH-2.0-"
FETCH = "timeout 5 wget -q -O - http://{}/"
"""How a guest fetches a page."""
HOME, HOME_ADDRESS = "person", "198.51.100.252"
SECONDS = 3


def greeting(site: Site, address: str, port: int, source: str = NEAR) -> str:
    """What the machine outside is greeted with there; '' when it is not."""
    told = f"s.settimeout({SECONDS}); print(s.recv(40))"
    return _said(site.outside, address, port, source, told)


def server(namespace: str, address: str, port: int = 80, source: str = "") -> str:
    """The name of the guest whose web server answers there; '' when none does."""
    ask = "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')"
    return named(_said(namespace, address, port, source, f"s.settimeout({SECONDS}); {ask}; print(s.makefile().read())"))


def named(page: str) -> str:
    """The name of the guest that gave the page, or the text of a page that tells none."""
    found = re.search("hostname: ([^<]+)", page)
    return found[1] if found else page.strip()


def _said(namespace: str, address: str, port: int, source: str, told: str) -> str:
    """What Python prints when it runs `told` in the namespace, with the socket `s` that is connected."""
    ends = f"('{address}', {port}), {SECONDS}, ('{source}', 0)"
    argv = [sys.executable, "-c", f"import socket; s = socket.create_connection({ends}); {told}"]
    try:
        return output(underlay.enter(namespace, argv)).strip()
    except CommandError:
        return ""


@contextmanager
def at_home(site: Site, folder: Path) -> Iterator[Person]:
    """Somebody's computer on the public network, with its files in `folder`."""
    namespace = f"{site.prefix}-{HOME}"
    underlay.ensure_namespace(namespace)
    try:
        for argv in underlay.cable(site, HOME, 0, underlay.PUBLIC_BRIDGE):
            output(underlay.enter(namespace, argv))
        output(["ip", "-n", namespace, "address", "add", f"{HOME_ADDRESS}/24", "dev", "eth0"])
        person = Person(namespace, folder)
        yield person
        person.daemon.end()
    finally:
        underlay.remove_namespace(namespace)
