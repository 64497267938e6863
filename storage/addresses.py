"""Which network addresses hosts that users name may have: public ones, and ranges that the operator opened."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from storage.errors import DownloadFailed, SourceLacking, SourceRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = {"http": 80, "https": 443}
URL_LIMIT = 2048
# Ranges that carry or translate to IPv4 addresses, or are not for hosts; is_global does not rule out all of them.
REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "5f00::/16",
        "fec0::/10",
        "ff00::/8",
    )
)


def is_reachable(address: Address, allow: Iterable[Network]) -> bool:
    """Whether a download or a webhook may connect to `address`."""
    if any(address in network for network in allow):
        return True
    return address.is_global and not any(address in network for network in REFUSED)


def split_url(url: str) -> SplitResult:
    """An http, https or file URL in its parts.

    :raises SourceRefused: it is anything else, or ambiguous
    """
    if len(url) > URL_LIMIT or any(not "!" <= letter <= "~" or letter == "\\" for letter in url):
        raise SourceRefused("The URL is too long or has characters that must be percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SourceRefused(f"The URL is not valid: {error}.") from error
    if parts.scheme not in {*PORTS, "file"}:
        raise SourceRefused(f"URLs of the scheme {parts.scheme or 'none'} are not supported.")
    if "@" in parts.netloc:
        raise SourceRefused("The URL must not hold a user name or password.")
    if parts.scheme != "file" and (not parts.hostname or port == 0):
        raise SourceRefused("The URL names no host.")
    return parts


def resolve(host: str, port: int, allow: Iterable[Network]) -> list[Address]:
    """All addresses of `host`, any of which the caller connects to without resolving again.

    :raises SourceRefused: one of them is not public, nor in `allow`
    :raises SourceLacking: the name has no address
    :raises DownloadFailed: nobody could tell its address
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        passes = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        kind = DownloadFailed if passes else SourceLacking
        raise kind(f"The host {host} could not be resolved: {error}.") from error
    addresses = list(dict.fromkeys(ipaddress.ip_address(str(item[4][0]).split("%")[0]) for item in found))
    allowed = tuple(allow)
    for address in addresses:
        if not is_reachable(address, allowed):
            raise SourceRefused(f"The host {host} has the address {address}, which must not be reached.")
    return addresses
