"""`./dev bench throughput`: TCP between guests and through routers, as a ratio to a plain pair of virtual interfaces.

Hosts are network namespaces with an Open vSwitch each (userspace datapath), guests are namespaces, as in
tests/unit/network; needs root. The plain pair has the guests' MTU and, like their interfaces, no offloads. All kinds
are measured in turn, and again in each round, so that what else the machine does hits all of them. Then the longest
silence of connections that talk 20 times a second: when the router is taken away and made anew, as restartNetwork with
cleanup does it, and when the primary one of two redundant routers falls silent.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.names import router_namespace
from network.types import Forwarding, NicView, Opening, RouterSpec, Traffic
from tests.bench.measure import pace
from tests.unit.network import pairs
from tests.unit.network.balancers import balancer
from tests.unit.network.lab import PREFIX, ROUTERS, Lab, inside, reaches, sh
from tests.unit.network.routers import OUTSIDE, router
from tests.unit.network.sites import PUBLIC
from tests.unit.network.streams import Stream
from tests.unit.network.views import network, nic

PLAIN = (f"{PREFIX}-plain1", f"{PREFIX}-plain2")
PLAIN_ADDRESSES = ("192.0.2.101", "192.0.2.102")
OWN, BALANCED = "198.51.100.10", "198.51.100.31"
WARM_UP = 0.5
CHUNK = 1 << 18
COLD_SECONDS = 30.0


@dataclass(frozen=True)
class Way:
    """From the namespace `client` to a server in another one; `target` is what the client connects to."""

    name: str
    client: str
    server: str
    listen: tuple[str, int]
    target: tuple[str, int]


class Sink:
    """Takes all that comes to a server, by any number of connections, until it is closed."""

    def __init__(self, namespace: str, listen: tuple[str, int]) -> None:
        with inside(namespace):
            self._listener = socket.create_server(listen)
        self.arrived = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        buffer = bytearray(CHUNK)
        with connection, suppress(OSError):
            while got := connection.recv_into(buffer):
                self.arrived += got

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def rate(way: Way, sink: Sink, seconds: float) -> float:
    """Mbit/s that arrive by one connection, after a warm-up."""
    with inside(way.client):
        client = socket.create_connection(way.target, 10)
    with client:
        _send(client, WARM_UP)
        before, begun = sink.arrived, time.monotonic()
        _send(client, seconds)
        return (sink.arrived - before) * 8 / 1e6 / (time.monotonic() - begun)


def await_server(way: Way, sink: Sink) -> None:
    """A balancer leads to a server once its checks have found it."""
    until = time.monotonic() + COLD_SECONDS
    before = sink.arrived
    while sink.arrived == before:
        if time.monotonic() > until:
            raise SystemExit(f"Nothing arrives by way of {way.name}.")
        with suppress(OSError), inside(way.client), socket.create_connection(way.target, 5) as client:
            client.sendall(b"x")
        time.sleep(0.5)


def _send(client: socket.socket, seconds: float) -> None:
    chunk, until = bytes(CHUNK), time.monotonic() + seconds
    while time.monotonic() < until:
        client.sendall(chunk)


class Ground:
    """Three hosts: guests 1 and 3 of tenant a on the first, 2 on the second, the router on the third; b is on VXLAN."""

    def __init__(self) -> None:
        self.lab = lab = Lab(3)
        self._plain()
        own = [nic("a", "1", "host-1"), nic("a", "2", "host-2"), nic("a", "3", "host-1")]
        other = [nic("b", "1", "host-1"), nic("b", "2", "host-2")]
        self.spec = self._wanted(own)
        self.guests = {one.id[4:]: lab.add_guest(one.id[4:], one, gateway="10.1.1.1") for one in (*own, *other)}
        self._public()
        settings = VirtualRouterSettings(lab.dir / "routers")
        self.element = VirtualRouter(settings, lab.hosts[2].switch)
        self.apply()
        views = [network("a", 1001, [*own, self.spec.legs[0].nic]), network("b", 1002, other, overlay="vxlan")]
        lab.apply(views)

    @staticmethod
    def _wanted(guests: list[NicView]) -> RouterSpec:
        return replace(
            router("a", guests),
            addresses=(BALANCED,),
            forwardings=(Forwarding(OWN, "tcp", 2222, 2222, "10.1.1.11", 22),),
            balancers=(balancer(BALANCED, guests="1", protocol="tcp"),),
            openings=(Opening(OWN, Traffic("tcp", 2222, 2222)), Opening(BALANCED, Traffic("tcp", 8000, 8000))),
        )

    def _plain(self) -> None:
        for name in PLAIN:
            self.lab.add_namespace(name)
        sh("ip", "-n", PLAIN[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", PLAIN[1])
        for name, address in zip(PLAIN, PLAIN_ADDRESSES, strict=True):
            sh("ip", "netns", "exec", name, "ethtool", "-K", "eth0", "tx", "off")
            sh("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            sh("ip", "-n", name, "link", "set", "eth0", "mtu", "1458", "up")

    def _public(self) -> None:
        """The host outside, beside the router's host."""
        host = self.lab.hosts[2].ns
        self.lab.add_namespace(PUBLIC)
        sh("ip", "-n", host, "link", "add", "br-public", "type", "bridge")
        sh("ip", "-n", host, "link", "set", "br-public", "up")
        sh("ip", "-n", host, "link", "add", "public", "type", "veth", "peer", "name", "eth0", "netns", PUBLIC)
        sh("ip", "-n", host, "link", "set", "public", "master", "br-public", "up")
        sh("ip", "-n", PUBLIC, "link", "set", "eth0", "up")
        sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")

    def apply(self) -> None:
        with inside(self.lab.hosts[2].ns):
            self.element.apply(self.spec)

    def remove(self) -> None:
        with inside(self.lab.hosts[2].ns):
            self.element.remove(ROUTERS["a"])

    def ways(self) -> list[Way]:
        a1, a2, a3, b1, b2 = (self.guests[name] for name in ("a1", "a2", "a3", "b1", "b2"))
        return [
            Way("plain", *PLAIN, (PLAIN_ADDRESSES[1], 5001), (PLAIN_ADDRESSES[1], 5001)),
            Way("same host", a1, a3, ("10.1.1.13", 5001), ("10.1.1.13", 5001)),
            Way("gre", a1, a2, ("10.1.1.12", 5001), ("10.1.1.12", 5001)),
            Way("vxlan", b1, b2, ("10.1.1.12", 5001), ("10.1.1.12", 5001)),
            Way("source nat", a1, PUBLIC, (OUTSIDE, 8443), (OUTSIDE, 8443)),
            Way("port forwarding", PUBLIC, a1, ("10.1.1.11", 22), (OWN, 2222)),
            Way("load balancer", PUBLIC, a1, ("10.1.1.11", 8080), (BALANCED, 8000)),
        ]

    def warm(self) -> None:
        """Tunnels and neighbours are known afterwards."""
        for guest, target in (("a1", "10.1.1.12"), ("a1", "10.1.1.13"), ("b1", "10.1.1.12"), ("a1", OUTSIDE)):
            if not reaches(self.guests[guest], target, COLD_SECONDS):
                raise SystemExit(f"{guest} does not reach {target}.")


def of_streams(rounds: int, ways: list[tuple[Any, ...]], trouble: Callable[[], None]) -> dict[str, Any]:
    """The longest silence of connections by `ways` while `trouble` is made, in seconds."""
    gaps = []
    for _ in range(rounds):
        streams = [Stream(*way) for way in ways]
        try:
            all(stream.goes_on() for stream in streams)
            trouble()
            survived = [stream.goes_on() for stream in streams]
        finally:
            for stream in streams:
                stream.close()
        if not all(survived):
            raise SystemExit("A connection did not survive.")
        gaps.append(max(stream.gap for stream in streams))
    return {"times": rounds, "median_gap": round(statistics.median(gaps), 2), "longest_gap": round(max(gaps), 2)}


def of_rates(ground: Ground, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, list[float]] = {way.name: [] for way in ground.ways()}
    sinks = [(way, Sink(way.server, way.listen)) for way in ground.ways()]
    for way, sink in sinks:
        await_server(way, sink)
    for _ in range(options.rounds):
        for way, sink in sinks:
            found[way.name].append(rate(way, sink, options.seconds))
    for _, sink in sinks:
        sink.close()
    plain = found["plain"]
    return {
        name: {
            "mbits": round(statistics.median(rates)),
            "ratio": round(statistics.median(one / base for one, base in zip(rates, plain, strict=True)), 3),
        }
        for name, rates in found.items()
    }


def of_restarts(ground: Ground, rounds: int) -> dict[str, Any]:
    def anew() -> None:
        ground.remove()
        ground.apply()

    one, other = ground.guests["a1"], ground.guests["a2"]
    ways = [(one, PUBLIC, (OUTSIDE, 8443), (OUTSIDE, 8443)), (other, PUBLIC, (OUTSIDE, 8444), (OUTSIDE, 8444)),
            (PUBLIC, one, ("10.1.1.11", 22), (OWN, 2222))]  # fmt: skip
    return of_streams(rounds, ways, anew)


def of_failovers(rounds: int) -> dict[str, Any]:
    """In a laboratory of its own: the primary's line to the other is cut; it is made anew before the next time."""
    lab = Lab(3)
    try:
        site = pairs.build(lab)
        for half in pairs.HOSTS:
            site.apply(half)
        site.tell()
        ways = [(site.guests["a1"], PUBLIC, (OUTSIDE, 8443), (OUTSIDE, 8443)),
                (PUBLIC, site.guests["a1"], ("10.1.1.11", 22), (OWN, 2222))]  # fmt: skip
        found = []
        for _ in range(rounds):
            primary = _primary(site)
            if not reaches(site.guests["a1"], OUTSIDE, COLD_SECONDS):
                raise SystemExit("The guest does not reach the outside.")
            silence = ("ip", "-n", router_namespace(pairs.IDS[primary]), "link", "set", "pair0", "down")
            found.append(of_streams(1, ways, lambda line=silence: sh(*line))["longest_gap"])  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            site.remove(primary)
            site.apply(primary)
    finally:
        lab.remove()
    return {"times": rounds, "median_gap": statistics.median(found), "longest_gap": max(found)}


def _primary(site: pairs.PairSite) -> str:
    """The one that forwards, once the other one waits."""
    until = time.monotonic() + COLD_SECONDS
    while sorted(map(str, site.roles())) != ["BACKUP", "PRIMARY"]:
        if time.monotonic() > until:
            raise SystemExit(f"The routers are {site.roles()}.")
        time.sleep(0.1)
    return list(pairs.HOSTS)[site.roles().index("PRIMARY")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="that each stream lasts (default 2)")
    parser.add_argument("--gaps", type=int, default=5, help="restarts and failovers (default 5)")
    options = parser.parse_args()
    ground = Ground()
    try:
        ground.warm()
        rates = of_rates(ground, options)
        restarts = of_restarts(ground, options.gaps) if options.gaps else {}
    finally:
        ground.lab.remove()
    failovers = of_failovers(options.gaps) if options.gaps else {}
    for name, one in rates.items():
        print(f"{name}: {one['mbits']} Mbit/s, {one['ratio']} of the plain pair")
    print(f"restart: {restarts}\nfailover: {failovers}")
    print(json.dumps({"benchmark": "throughput", "rates": rates, "restart": restarts, "failover": failovers,
                      "pace": round(pace(), 3)}))  # fmt: skip


if __name__ == "__main__":
    main()
