"""The model held against the router of a VPC: real packets of guests and from outside.

PILEUS_REAL_CASES is as in test_router_reach, of which half are put here.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from network.reachability.values import Place
from network.types import Forwarding, Opening, Policy, PolicyRule, Route, StaticNat
from tests.unit.network.ears import Ears
from tests.unit.network.test_router_reach import BEYOND, CASES, cases, judged
from tests.unit.network.test_vpc_router import FIRST, PLACES, PUBLIC, SECOND, Shop, shop  # noqa: F401 - shop is a fixture
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
