"""The model held against the router of a VPC: real packets of guests and from outside.

PILEUS_REAL_CASES is as in test_router_reach, of which half are put here.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from network.balancing import Balancer, Member
from network.reachability.values import Place
from network.types import Forwarding, Opening, Policy, PolicyRule, PrivateLeg, Route, StaticNat
from tests.unit.network.ears import Asked, Ears, mark_of
from tests.unit.network.fabric import ALL
from tests.unit.network.lab import arp, ethernet, udp
from tests.unit.network.test_router_reach import BEYOND, CASES, cases, judged
from tests.unit.network.test_vpc_router import FIRST, PLACES, PUBLIC, SECOND, Shop, shop  # noqa: F401 - shop is a fixture
from tests.unit.network.test_vpc_router import OPEN as ANYTHING
from tests.unit.network.worlds import World, rules, some, traffic

TIERS = ("0.0.0.0/0", "198.51.100.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.11/32")
ROUTED = "10.9.0.0/24"


def near(chance: Random, rule: PolicyRule) -> PolicyRule:
    """The rule for networks that the VPC has to do with."""
    side = "sources" if rule.direction == "ingress" else "destinations"
    return replace(rule, traffic=replace(rule.traffic, **{side: some(chance, TIERS)}))


def acl(chance: Random, number: int) -> Policy:
    return Policy(f"list-{number}", tuple(near(chance, one) for one in rules(chance, denies=True)))


def vpc_of(chance: Random, built: Shop) -> World:
    """Random lists of the tiers and rules of the router, which both are told."""
    guests = [one.address for one in built.nics["v"]]
    spec = built.spec(
        static_nats=(StaticNat(FIRST, chance.choice(guests)),),
        forwardings=(Forwarding(SECOND, "tcp", 80, 80, chance.choice(guests), 8080, some(chance, TIERS)),),
        openings=tuple(Opening(one, traffic(chance, sources=some(chance, TIERS))) for one in (FIRST, SECOND) * 2),
        routes=(Route(ROUTED, chance.choice(guests)),) if chance.random() < 0.5 else (),
    )
    lists = {number: acl(chance, number) for number in (1, 2, 3)}
    built.apply(spec, lists)
    return World([Place(view, spec) for view in built.views(acls=lists)])


def test_routers_of_vpcs_do_what_the_model_says(shop):  # noqa: F811 - as above
    chance, asked, passed = Random(31), 0, 0
    names = {f"nic-v-{name}": ns for name, ns in shop.guests.items() if name in PLACES}
    with Ears(names | {BEYOND: PUBLIC}) as ears:
        while asked < CASES // 2:
            one_round = cases(chance, vpc_of(chance, shop), 10000 + asked)
            passed += judged(ears, one_round)
            asked += len(one_round)
    assert asked / 10 < passed < asked


def test_nobody_in_a_tier_stands_in_for_a_balancer_or_for_who_is_behind_a_gateway(shop):  # noqa: F811 - as above
    """S-28: spoofed addresses of the balancer inside and of the private network, in packets and in ARP."""
    shop.inside = ("10.0.2.100",)
    try:
        first, second, third = shop.legs()
        private = PrivateLeg("private-1", "172.16.0.2", 24, "172.16.0.1", "02:00:00:00:03:01", 100, ANYTHING)
        members = (Member("member-1", "10.0.2.11"),)
        one = Balancer("balancer-2", "10.0.2.100", 80, 8080, members=members)
        spec = shop.spec(first, replace(second, acl=ANYTHING), third, balancers=(one,), private_legs=(private,))
        shop.apply(spec)
        own = {nic.id: nic for nic in shop.nics["v"]}
        attacker, victim, far = own["nic-v-app"], own["nic-v-app2"], own["nic-v-web"]
        forged = []
        for address in ("10.0.2.100", "10.0.2.1", "172.16.0.1", "172.16.0.9", "169.254.169.254", far.address):
            for target, to in ((victim.mac, victim.address), (second.nic.mac, far.address), (ALL, "10.0.2.255")):
                for source in (attacker.mac, second.nic.mac):
                    number = 2 * len(forged)
                    answer = arp(2, source, address, target, address) + mark_of(number)
                    forged.append((target, source, 0x0806, answer))
                    forged.append((target, source, 0x0800, udp(address, to, (80, 9), mark_of(number + 1) + b"\0")))
        names = {f"nic-v-{name}": shop.guests[name] for name in PLACES}
        names |= {f"nic-w-{name[1:]}": ns for name, ns in shop.guests.items() if name not in PLACES}
        with Ears(names | {BEYOND: PUBLIC}) as ears:
            asked = [Asked(attacker.id, ethernet(*one)) for one in forged]
            assert {hearer for heard in ears.put(asked) for hearer in heard} == set()
            payload = udp(attacker.address, victim.address, (9, 9), mark_of(999999) + b"\0")
            honest = Asked(attacker.id, ethernet(victim.mac, attacker.mac, 0x0800, payload), {victim.id})
            assert ears.put([honest])[0] - {attacker.id} == {victim.id}
    finally:
        shop.inside = ()
        shop.apply(shop.spec())
