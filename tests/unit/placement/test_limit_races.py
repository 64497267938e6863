"""A hundred callers race for the last units: never above a limit, and as many refusals as there must be."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from manager import db
from manager.models import Account, DomainLimit, DomainUse, Project, ResourceLimit, ResourceUse, SshKeyPair, Volume
from manager.placement import holdings, limits
from manager.placement.limits import LimitReached
from manager.recount import drift
from manager.workflows.engine import advance
from tests.client import Caller, Refused
from tests.conftest import _fresh

CALLERS = 100
GIB = 2**30


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request):
    """A database with real concurrency; SQLite admits one writer."""
    return request.param


@pytest.fixture
def engine(request, tmp_path, served):
    yield from _fresh(request, tmp_path, served)


@pytest.fixture
def tree(engine, factory):
    """ROOT/top/low: ten accounts in low, ten in top, whose own limits stand in nobody's way."""
    top = factory.domain("top")
    low = factory.domain("low", top)
    accounts = [factory.account(f"a{number}", low if number < 10 else top) for number in range(20)]
    return top, low, accounts


def race(count, act):
    """What `act(number)` gave, for all numbers at once."""
    ready = threading.Barrier(count)

    def one(number):
        ready.wait(60)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(one, range(count)))


def claim(engine, account, **wanted):
    try:
        with db.transaction(engine) as session:
            limits.claim(session, session.get_one(Account, account.id), **wanted)
    except LimitReached as error:
        return str(error).split(";", maxsplit=1)[0]
    return "claimed"


def no_counter_is_wrong(engine):
    with db.transaction(engine) as session:
        assert [f.detail for f in drift(session) if f.type == "counter"] == []


def test_the_last_unit_of_an_accounts_limit(engine, factory, tree):
    account = tree[2][0]
    factory(ResourceLimit, account_id=account.id, resource="vms", maximum=1)
    found = race(CALLERS, lambda _: claim(engine, account, vms=1, cpus=1))
    assert found == {"claimed": 1, "Account a0 may hold 1 virtual machines": CALLERS - 1}
    use = factory.first(ResourceUse, account_id=account.id)
    assert (use.vms, use.cpus) == (1, 1)
    assert factory.first(DomainUse, domain_id=tree[1].id).cpus == 1


def test_several_limits_of_domains_at_once(engine, factory, tree):
    """low has room for 4 volumes, top for 7 of all; storage binds nobody before."""
    top, low, accounts = tree
    factory(DomainLimit, domain_id=low.id, resource="volumes", maximum=4)
    factory(DomainLimit, domain_id=top.id, resource="volumes", maximum=7)
    found = race(CALLERS, lambda n: claim(engine, accounts[n % 20], volumes=1, primary_storage=GIB))
    refusals = {"Domain ROOT/top/low may hold 4 volumes", "Domain ROOT/top may hold 7 volumes"}
    assert found["claimed"] == 7
    assert set(found) <= {"claimed", *refusals}
    in_low, in_top = (factory.first(DomainUse, domain_id=domain.id) for domain in (low, top))
    assert in_top.volumes == 7
    assert in_low.volumes <= 4
    assert in_top.primary_storage == 7 * GIB
    assert in_low.primary_storage == in_low.volumes * GIB
    held = [factory.first(ResourceUse, account_id=account.id).volumes for account in accounts]
    assert sum(held) == 7
    assert sum(held[:10]) == in_low.volumes


def test_claims_and_releases_and_counting_anew_leave_what_there_is(engine, factory, tree):
    top, low, accounts = tree

    def act(number):
        account, chance = accounts[number % 20], random.Random(number)
        for _ in range(3):
            with db.transaction(engine) as session:
                limits.claim(session, session.get_one(Account, account.id), volumes=1, primary_storage=5)
                volume = Volume(account_id=account.id, **values)
                session.add(volume)
            if chance.random() < 0.5:
                with db.transaction(engine) as session:
                    session.get_one(Volume, volume.id).remove()
                    session.flush()
                    limits.release(session, account.id, volumes=1, primary_storage=5)
            if number % 10 == 0:
                with db.transaction(engine) as session:
                    holdings.count_anew(session, [account.id], limits.domains_above(session, account.id))
        return "done"

    for domain in (top, low):
        factory(DomainLimit, domain_id=domain.id, resource="volumes", maximum=-1)
    values = {"name": "v", "zone_id": factory(Volume, account_id=factory.first(Account, name="system").id).zone_id,
              "size": 5}  # fmt: skip
    with db.transaction(engine) as session:
        holdings.count_anew(session, [factory.first(Account, name="system").id], [])
    assert race(40, act) == {"done": 40}
    no_counter_is_wrong(engine)
    assert factory.first(DomainUse, domain_id=top.id).volumes > 0


def answer(call):
    try:
        call()
    except Refused as refused:
        return f"{refused.code} {refused.text.split(';')[0]}"
    return "made"


def test_names_and_limits_through_the_api(engine, factory, api, tree):
    """Each name is given once, and each refusal tells which: the name or the limit."""
    top, _, accounts = tree
    factory.user("eva", accounts[19])
    eva = Caller.of(engine, "eva")
    factory(ResourceLimit, account_id=accounts[19].id, resource="projects", maximum=3)
    found = race(25, lambda number: answer(lambda: api("createProject", eva, name=f"p{number % 5}")))
    taken = {text for text in found if "has a project" in text}
    assert found["made"] == 3, found
    assert set(found) - taken <= {"made", "535 Account eva may hold 3 projects", "535 Account a19 may hold 3 projects"}
    assert factory.first(ResourceUse, account_id=accounts[19].id).projects == 3
    with db.transaction(engine) as session:
        names = [row.name for row in session.query(Project)]
    assert len(names) == 3 == len(set(names))
    found = race(25, lambda number: answer(lambda: api("createSSHKeyPair", eva, name=f"k{number % 4}")))
    assert found["made"] == 4
    assert all(text.startswith(("made", "431 ")) for text in found), found
    with db.transaction(engine) as session:
        assert sorted(row.name for row in session.query(SshKeyPair)) == ["k0", "k1", "k2", "k3"]
    no_counter_is_wrong(engine)
    assert factory.first(DomainUse, domain_id=top.id).projects == 3


def test_nothing_is_left_in_a_project_that_is_removed_meanwhile(engine, factory, api, tree):
    """Whoever makes something has either made it before the removal begins, or is told that the project goes."""
    factory.user("eva", tree[2][0])
    eva = Caller.of(engine, "eva")
    project_id = api("createProject", eva, name="web")["id"]
    account_id = factory.first(Project, id=project_id).account_id
    began = threading.Event()

    def act(number):
        if number == 0:
            began.wait(60)
            job = api("deleteProject", eva, id=project_id)
            advance(job["jobid"])
            return "deleted"
        made = answer(lambda: api("createSSHKeyPair", eva, name=f"k{number}", projectid=project_id))
        began.set()
        return "made" if made == "made" else made[:3]

    found = race(15, act)
    assert set(found) <= {"deleted", "made", "531", "431"}
    assert found["made"] >= 1
    with db.transaction(engine) as session:
        assert session.query(SshKeyPair).filter_by(account_id=account_id, removed=None).count() == 0
    assert factory.first(Project, id=project_id).removed is not None
