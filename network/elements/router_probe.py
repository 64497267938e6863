"""Asks the services of a router from inside its namespace; a program of its own that needs the standard library only.

Reads from standard input a JSON object: `names`, pairs of a name server's address and a name that it must know as
that address; `pages`, pairs of an address and a port that must speak HTTP; `neighbour`, null or the device, own
address and neighbour that must answer ARP. Writes one with the failures of `names`, `pages` and `neighbour`, as lists
of sentences, and with `connections` and `most_connections` that the kernel tracks.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 2.0
NAME_SERVER = 53
ETHERTYPE_ARP, ETHERTYPE_IPV4 = 0x0806, 0x0800
REQUEST, REPLY = 1, 2
CONNTRACK = Path("/proc/sys/net/netfilter")


def resolve_failure(server: str, name: str) -> str:
    """Ask `server` for the address of `name`, which must be its own (RFC 1035); "" when it says so."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!6H", 0x5052, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_SECONDS)
        try:
            client.connect((server, NAME_SERVER))
            client.send(query)
            answer = client.recv(512)
        except OSError as error:
            return f"The name server at {server} does not answer ({error})."
    if answer[-4:] != socket.inet_aton(server) or answer[:2] != query[:2]:
        return f"The name server at {server} does not know {name} as {server}."
    return ""


def page_failure(address: str, port: int) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/", headers={"DomU_Request": "probe"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        return f"The server at {address}, port {port}, does not answer ({error or type(error).__name__})."
    finally:
        connection.close()
    return ""


def neighbour_failure(device: str, own: str, neighbour: str) -> str:
    """Ask by ARP (RFC 826) who has the address."""
    addresses = (socket.inet_aton(own), socket.inet_aton(neighbour))
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHERTYPE_ARP)) as line:
        line.bind((device, ETHERTYPE_ARP))
        mac = line.getsockname()[4]
        head = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, REQUEST)
        line.sendto(head + mac + addresses[0] + bytes(6) + addresses[1], (device, ETHERTYPE_ARP, 0, 1, b"\xff" * 6))
        until = time.monotonic() + ANSWER_SECONDS
        while (left := until - time.monotonic()) > 0 and select.select([line], [], [], left)[0]:
            heard = line.recv(64)
            if heard[6:8] == struct.pack("!H", REPLY) and heard[14:18] == addresses[1]:
                return ""
    return f"The gateway {neighbour} does not answer ARP on {device}."


def look(asked: dict[str, Any]) -> dict[str, Any]:
    names = [resolve_failure(*pair) for pair in asked["names"]]
    pages = [page_failure(*pair) for pair in asked["pages"]]
    neighbour = [neighbour_failure(*asked["neighbour"])] if asked["neighbour"] else []
    return {
        "names": list(filter(None, names)),
        "pages": list(filter(None, pages)),
        "neighbour": list(filter(None, neighbour)),
        "connections": int((CONNTRACK / "nf_conntrack_count").read_text()),
        "most_connections": int((CONNTRACK / "nf_conntrack_max").read_text()),
    }


if __name__ == "__main__":
    json.dump(look(json.load(sys.stdin)), sys.stdout)
