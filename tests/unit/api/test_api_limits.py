"""How many calls an account may make in an interval: real Redis, and more processes than one."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import pytest

from devcloud.services import Redis
from manager import broker, db
from manager.api import throttle
from manager.app import create_app
from manager.config import settings
from tests.client import Api, Caller, Refused, signed


def forget_connections():
    throttle._away_until = 0.0
    for cached in (settings, broker.connection):
        cached.cache_clear()


@pytest.fixture
def server(engine):
    before = os.environ["PILEUS_BROKER_URL"]
    with tempfile.TemporaryDirectory(prefix="pileus-test-") as folder:
        Path(folder).chmod(0o755)
        started = Redis(Path(folder) / "redis", fast=True, password="manager-password")
        started.start()
        os.environ["PILEUS_BROKER_URL"] = started.broker_url()
        forget_connections()
        yield started
        started.stop()
        os.environ["PILEUS_BROKER_URL"] = before
        forget_connections()


@pytest.fixture
def limited(api, tenant, server):
    """The tenant may make 3 calls in an interval that no test outlasts."""
    for name, value in (("enabled", "true"), ("interval", "600"), ("max", "3")):
        api("updateConfiguration", name=f"api.throttling.{name}", value=value)
    return tenant


def passed(api, caller, count):
    """How many of so many calls were answered; the others were one too many."""
    done = 0
    for _ in range(count):
        call = signed(caller, {"command": "listZones", "response": "json"})
        status = api.client.get("/client/api", query_string=call).status_code
        assert status in {200, 429}
        done += status == 200
    return done


def test_the_calls_of_an_interval_and_not_one_more(api, limited):
    assert passed(api, limited, 5) == 3
    with pytest.raises(Refused, match=r"429 The given user has reached his/her account api limit, please retry") as one:
        api("listZones", limited)
    assert one.value.body["cserrorcode"] == 4545
    assert one.value.wrapper == "listzonesresponse"


def test_it_tells_when_to_come_again(api, limited):
    passed(api, limited, 3)
    call = signed(limited, {"command": "listZones", "response": "json"})
    answer = api.client.get("/client/api", query_string=call)
    assert answer.status_code == 429
    assert 590 <= int(answer.headers["Retry-After"]) <= 600


def test_each_account_has_its_own_and_root_administrators_none(api, limited, engine, factory):
    other = Caller.of(engine, factory.user("other").username)
    api("updateConfiguration", name="api.throttling.max", value="5", accountid=other.account.id)
    assert (passed(api, limited, 9), passed(api, other, 9), passed(api, api.admin, 9)) == (3, 5, 9)


def test_a_new_interval_begins_when_the_old_one_is_over(api, limited):
    api("updateConfiguration", name="api.throttling.interval", value="1")
    assert passed(api, limited, 5) == 3
    time.sleep(1.1)
    assert passed(api, limited, 5) == 3


def test_the_figures_and_their_reset(api, limited, engine, factory):
    other = Caller.of(engine, factory.user("other").username)
    assert passed(api, other, 1) == 1
    shown = api("getApiLimit", limited)["apilimit"]
    assert (shown["account"], shown["apiIssued"], shown["apiAllowed"]) == ("tenant", 1, 2)
    assert 590_000 < shown["expireAfter"] <= 600_000
    assert passed(api, limited, 3) == 2
    api("resetApiLimit", account=limited.account.id)
    assert passed(api, limited, 4) == 3
    assert passed(api, other, 4) == 2
    api("resetApiLimit")
    assert (passed(api, limited, 4), passed(api, other, 4)) == (3, 3)
    with pytest.raises(Refused, match=r"432"):
        api("resetApiLimit", Caller.of(engine, factory.user("third").username))


def test_capabilities_tell_the_limit(api, limited):
    shown = api("listCapabilities", limited)["capability"]
    assert (shown["apilimitmax"], shown["apilimitinterval"]) == (3, 600)
    api("updateConfiguration", name="api.throttling.enabled", value="false")
    assert "apilimitmax" not in api("listCapabilities", limited)["capability"]


def test_refused_signatures_count_for_nobody(api, limited):
    forged = Caller(limited.key, "wrong", limited.user, limited.account)
    for _ in range(5):
        with pytest.raises(Refused, match=r"401"):
            api("listZones", forged)
    assert passed(api, limited, 4) == 3


def test_nothing_is_counted_while_it_is_off(api, limited):
    api("updateConfiguration", name="api.throttling.enabled", value="false")
    assert passed(api, limited, 9) == 9
    assert api("getApiLimit", limited)["apilimit"]["apiIssued"] == 0


def test_without_redis_calls_are_let_through_at_once(api, limited, server, capfd):
    server.stop()
    began = time.monotonic()
    assert passed(api, limited, 20) == 20
    assert time.monotonic() - began < 3
    assert sum("calls are not counted" in line for line in "".join(capfd.readouterr()).splitlines()) == 1
    assert api("getApiLimit", limited)["apilimit"]["apiIssued"] == 0
    with pytest.raises(Refused, match=r"534 .*cannot be reached; nothing was reset"):
        api("resetApiLimit")
    server.start()
    throttle._away_until = 1e-9
    assert passed(api, limited, 5) == 3


def call_many(caller: Caller, count: int, gate, answers) -> None:
    """One more process of the API: so many calls by a client of its own; its answers go into the queue."""
    engine = db.engine()
    api = Api(create_app(engine), caller)
    gate.wait()
    answers.put((os.getpid(), passed(api, caller, count)))


def test_two_processes_count_together(api, limited):
    api("updateConfiguration", name="api.throttling.max", value="25")
    apart = multiprocessing.get_context("spawn")
    gate, answers = apart.Barrier(2), apart.Queue()
    workers = [apart.Process(target=call_many, args=(limited, 20, gate, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = dict(answers.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert len(found) == 2
    assert sum(found.values()) == 25
    assert all(found.values())
