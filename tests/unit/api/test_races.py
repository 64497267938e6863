"""A hundred clients on two processes of the API race for the last units of limits, for names and for addresses.

No limit is passed, no name or address is given twice, every refusal has the code and the reason that it must have, and
what is counted is what there is.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from devcloud.management import DATABASE, Keys
from manager import db
from manager.models import Account, NetworkOffering, Nic, NicAddress, User
from manager.models.resources import BY_KEY
from manager.recount import drift
from tests.bench.server import Server
from tests.bench.wire import Client, Refused
from tests.client import Caller
from tests.conftest import _in_use
from tests.factories import Factory
from tests.unit.api.live_cloud import live_cloud

CLIENTS = 100
HASHED = 20
"""So many race for what hashes a password each, which takes a tenth of a second."""
ROOM = 3
NAMES = 4
QUOTA, TAKEN, NO_CAPACITY = 535, 431, 533
DEPLOYED = {"vms": 1, "cpus": 1, "memory": 64, "volumes": 1, "primary_storage": 1}
"""What a deployment counts, in the units of limits."""
PERSON = {"firstname": "A", "lastname": "B", "email": "a@example.org", "password": "race-password"}

Ask = Callable[[Client, int], Any]


@dataclass
class Field:
    """Where they race: the administrator, the tenant with its things, and a hundred clients of the tenant."""

    factory: Factory
    ports: list[int]
    root: Client
    tenant: Caller
    names: dict[str, str]

    def race(self, *asks: Ask, keys: list[Keys] | None = None, count: int = CLIENTS) -> list[Counter[str]]:
        """How the calls of all clients, sent at the same moment, were answered: "made", or code and reason.

        The clients call one of `asks` after the other, each when all are ready for it.
        """
        ready = threading.Barrier(count)
        sides = cycle(self.ports)
        signers = cycle(keys or [self.keys])
        clients = [Client(next(sides), next(signers)) for _ in range(count)]

        def one(number: int) -> list[str]:
            found = []
            for ask in asks:
                ready.wait(60)
                found.append(_answer(ask, clients[number], number))
            return found

        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(one, range(count)))
        for client in clients:
            client.close()
        return [Counter(texts) for texts in zip(*answers, strict=True)]

    def seen(self, command: str, key: str) -> list[Any]:
        """What the tenant lists, by the second process."""
        client = Client(self.ports[1], self.keys)
        try:
            return list(client(command).get(key, []))
        finally:
            client.close()

    @property
    def keys(self) -> Keys:
        return Keys(self.tenant.key, self.tenant.secret)

    def limit(self, key: str, maximum: int, **whose: Any) -> None:
        """The limit of the tenant, or of whom `whose` names."""
        holder = whose or {"account": self.tenant.account.name, "domainid": self.tenant.account.domain_id}
        self.root("updateResourceLimit", resourcetype=BY_KEY[key].number, max=maximum, **holder)

    def held(self, key: str) -> int:
        """What the tenant is told that it holds, in the unit of limits."""
        answer = self.root("listAccounts", id=self.tenant.account.id)["account"][0]
        return int(answer[f"{BY_KEY[key].shown}total"])

    def deploy(self, client: Client, name: str, **more: Any) -> Any:
        names = self.names
        place = {"zoneid": names["zone"], "templateid": names["template"], "serviceofferingid": names["offering"]}
        return client("deployVirtualMachine", **place, networkids=names["network"], startvm="false", name=name, **more)


def _answer(ask: Ask, client: Client, number: int) -> str:
    try:
        ask(client, number)
    except Refused as error:
        return f"{error.code} {str(error).split(': ', 1)[1].split(';')[0]}"
    return "made"


@pytest.fixture(scope="module")
def field(key_files: Path) -> Iterator[Field]:
    keys = {name: os.environ[name] for name in ("PILEUS_SECRET_KEY_FILE", "PILEUS_SIGNING_KEY_FILE")}
    with tempfile.TemporaryDirectory(prefix="pileus-race-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's own account passes through
        with Server(Path(folder) / "s", 2, keys) as server:
            for engine in _in_use(server.postgresql.url(DATABASE)):
                made = _field(Factory(engine), Path(folder), server)
                yield made
                made.root.close()


def _field(factory: Factory, directory: Path, server: Server) -> Field:
    cloud, tenant = live_cloud(factory, directory)
    names = {
        "zone": cloud.zone_id, "template": cloud.template_id, "offering": cloud.offering_id,
        "network": cloud.network_id, "networkoffering": factory.first(NetworkOffering, availability="Required").id,
    }  # fmt: skip
    found = Field(factory, server.ports, Client(server.ports[0], server.root), tenant, names)
    for key in BY_KEY:
        found.limit(key, -1)
    return found


def _one_of(found: Counter[str], refusal: str, made: int) -> None:
    assert found == {"made": made, refusal: CLIENTS - made}


def _network(field: Field, client: Client, name: str) -> Any:
    names = field.names
    return client("createNetwork", name=name, zoneid=names["zone"], networkofferingid=names["networkoffering"])


def _template(field: Field, client: Client, name: str) -> Any:
    url = "http://images.example/tiny.qcow2"
    given = {"format": "QCOW2", "hypervisor": "Simulator", "zoneid": field.names["zone"]}
    return client("registerTemplate", name=name, url=url, **given)


ASKS: dict[str, Callable[[Field, Client, str], Any]] = {
    **dict.fromkeys(DEPLOYED, Field.deploy),
    "networks": _network,
    "templates": _template,
    "projects": lambda _field, client, name: client("createProject", name=name),
    "public_addresses": lambda field, client, _: client("associateIpAddress", networkid=field.names["network"]),
}


@pytest.mark.parametrize("key", ASKS)
def test_the_last_units_of_a_limit(field, key):
    """There is room for three, and a bit more where one asks for more than one unit."""
    each, before = DEPLOYED.get(key, 1), field.held(key)
    maximum = before + ROOM * each + each - 1
    field.limit(key, maximum)
    (found,) = field.race(lambda client, number: ASKS[key](field, client, f"{key.replace('_', '')}{number}"))
    field.limit(key, -1)
    refusal = f"{QUOTA} Account tenant may hold {maximum} {BY_KEY[key].label}"
    _one_of(found, refusal, ROOM)
    assert field.held(key) == before + ROOM * each


def test_the_last_units_of_a_domain(field):
    """Two accounts, whose own limits stand in nobody's way, and those of the domain above them."""
    factory = field.factory
    domain = factory.domain("shared")
    users = [Caller.of(factory.engine, factory.user(name, factory.account(name, domain)).username) for name in "xy"]
    field.limit("networks", ROOM, domainid=domain.id)
    keys = [Keys(user.key, user.secret) for user in users]
    (found,) = field.race(lambda client, number: _network(field, client, f"d{number}"), keys=keys)
    _one_of(found, f"{QUOTA} Domain ROOT/shared may hold {ROOM} networks", ROOM)


def test_names(field):
    """Each name is given once. (Networks may have the same name, as in CloudStack.)"""
    found = field.race(
        lambda client, number: client("createSSHKeyPair", name=f"k{number % NAMES}"),
        lambda client, number: client("createAffinityGroup", name=f"g{number % NAMES}", type="host anti-affinity"),
        lambda client, number: client("registerUserData", name=f"u{number % NAMES}", userdata="eA=="),
        lambda client, number: client("createProject", name=f"same{number % NAMES}"),
        lambda client, number: field.deploy(client, f"same{number % NAMES}"),
    )
    for answers in found:
        assert answers["made"] == NAMES, answers
        assert {answers[text] for text in answers if text != "made"} == {CLIENTS // NAMES - 1}, answers
        assert all(text == "made" or text.startswith(f"{TAKEN} ") for text in answers), answers
    lists = (
        ("listSSHKeyPairs", "sshkeypair", "k"),
        ("listVirtualMachines", "virtualmachine", "same"),
        ("listProjects", "project", "same"),
    )
    for command, key, whole in lists:
        rows = field.seen(command, key)
        named = sorted(row["name"] for row in rows if row["name"].startswith(whole) and len(row["name"]) <= 5)
        assert named == [f"{whole}{number}" for number in range(NAMES)], named


def test_names_of_domains_accounts_and_users(field):
    """Half of the clients make accounts, the other half users: a user's name is taken by either."""
    root = [field.root.keys]

    def person(client: Client, number: int) -> Any:
        name = f"p{number % NAMES}"
        if number % 2:
            return client("createAccount", username=name, account=name, accounttype=0, **PERSON)
        return client("createUser", username=name, account="admin", **PERSON)

    (domains,) = field.race(lambda client, number: client("createDomain", name=f"d{number % NAMES}"), keys=root)
    (people,) = field.race(person, keys=root, count=HASHED)
    for answers in (domains, people):
        assert answers["made"] == NAMES, answers
        assert all(text == "made" or text.startswith(f"{TAKEN} ") for text in answers), answers
    with db.transaction(field.factory.engine) as session:
        names = [user.username for user in session.query(User) if user.username.startswith("p")]
        accounts = [row.name for row in session.query(Account) if row.name.startswith("p") and len(row.name) == 2]
    assert sorted(names) == [f"p{number}" for number in range(NAMES)]
    assert len(accounts) == len(set(accounts))


def test_an_address_of_a_network_and_a_public_one(field):
    free = field.root("listPublicIpAddresses", zoneid=field.names["zone"], state="Free", allocatedonly="false")
    with db.transaction(field.factory.engine) as session:
        held = {*session.scalars(select(Nic.address)), *session.scalars(select(NicAddress.address))}
    network = next(address for last in range(77, 250) if (address := f"10.1.1.{last}") not in held)
    public = free["publicipaddress"][0]["ipaddress"]
    found = field.race(
        lambda client, number: field.deploy(client, f"address{number}", ipaddress=network),
        lambda client, _: client("associateIpAddress", networkid=field.names["network"], ipaddress=public),
    )
    _one_of(found[0], f"{NO_CAPACITY} Address {network} of network net1 is taken.", 1)
    refusal = (f"{TAKEN} The public address {public} is not free, in quarantine, or not one of the network's zone and "
               "physical network.")  # fmt: skip
    _one_of(found[1], refusal, 1)


def test_what_is_counted_is_what_there_is(field):
    """Runs last: the counts that all races have left are those of a recount, and that changes none."""
    account, domain = field.tenant.account, field.tenant.account.domain_id
    with db.transaction(field.factory.engine) as session:
        assert [found.detail for found in drift(session) if found.type == "counter"] == []
    for whose in ({"account": account.name, "domainid": domain}, {"domainid": domain}):
        before = field.root("listAccounts", id=account.id)["account"][0]
        assert field.root("updateResourceCount", **whose)["resourcecount"]
        assert field.root("listAccounts", id=account.id)["account"][0] == before


def test_security_groups(field):
    """The group `default` is made once, a rule is had once, and no rule names a group that is gone."""
    tenant = Client(field.ports[0], field.keys)
    (listed,) = field.race(lambda client, _: client("listSecurityGroups"))
    assert listed == {"made": CLIENTS}
    (default,) = field.seen("listSecurityGroups", "securitygroup")
    names = [f"named{number}" for number in range(CLIENTS // 2)]
    for name in names:
        tenant("createSecurityGroup", name=name)
    tenant.close()
    same = {"securitygroupid": default["id"], "protocol": "tcp", "startport": "22", "cidrlist": "192.0.2.0/24"}
    (ruled,) = field.race(lambda client, _: client("authorizeSecurityGroupIngress", **same))
    _one_of(ruled, f"{TAKEN} The security group default has this rule already.", 1)

    def ask(client: Client, number: int) -> Any:
        if number % 2:
            return client("deleteSecurityGroup", name=names[number // 2])
        given = {"usersecuritygrouplist[0].group": names[number // 2], "securitygroupid": default["id"]}
        return client("authorizeSecurityGroupIngress", **given)

    (answers,) = field.race(ask)
    assert answers["made"] == CLIENTS // 2, answers
    there = {one["name"]: one for one in field.seen("listSecurityGroups", "securitygroup")}
    named = {rule["securitygroupname"] for rule in there["default"]["ingressrule"] if "securitygroupname" in rule}
    assert named == set(there) - {"default"}
