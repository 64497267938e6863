"""Wrong passwords: how many are looked at, what they tell, what they leave."""

from __future__ import annotations

import re
import threading

import pytest
from sqlalchemy import event, update

from manager import db, secrets
from manager.api.commands import session as login_command
from manager.models import User
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import statements
from tests.unit.api.test_sessions import log_in

ALLOWED = 5
LOCK_SECONDS = 15 * 60


@pytest.fixture
def browser(api, factory):
    factory.user("jo")
    return api.app.test_client()


@pytest.fixture
def any_browser(any_api, any_factory):
    any_factory.user("jo")
    return any_api.app.test_client()


def wrong(browser, times, username="jo"):
    return [log_in(browser, username, "wrong").status_code for _ in range(times)]


def wait(engine, seconds):
    with db.transaction(engine) as session:
        session.execute(update(User).values(last_attempt=User.last_attempt - seconds))


def failed(factory, username="jo"):
    return factory.first(User, username=username).failed_logins


def test_a_user_is_shut_out_after_the_allowed_attempts_and_for_a_while(any_browser, any_engine, any_factory):
    wrong(any_browser, ALLOWED)
    for _ in range(2):
        assert log_in(any_browser, "jo", "password").status_code == 531
    assert (failed(any_factory), any_factory.first(User, username="jo").state) == (ALLOWED, "enabled")
    wait(any_engine, LOCK_SECONDS - 60)
    assert log_in(any_browser, "jo", "password").status_code == 531
    wait(any_engine, 61)
    assert wrong(any_browser, 1) == [531]
    assert failed(any_factory) == 1
    assert log_in(any_browser, "jo", "password").status_code == 200
    assert failed(any_factory) == 0


def test_a_success_begins_the_count_anew(browser, factory):
    for _ in range(2):
        wrong(browser, ALLOWED - 1)
        assert log_in(browser, "jo", "password").status_code == 200
    assert failed(factory) == 0


def test_others_are_not_concerned_and_enabling_lets_in_again(browser, api, factory):
    wrong(browser, ALLOWED)
    assert log_in(browser, "admin", "admin-password").status_code == 200
    api("enableUser", id=factory.first(User, username="jo").id)
    assert log_in(browser, "jo", "password").status_code == 200


def test_the_last_administrator_comes_back_by_waiting_and_by_keys(browser, api, engine):
    wrong(browser, ALLOWED, "admin")
    assert log_in(browser).status_code == 531
    assert api("enableUser", id=api.admin.user.id)["user"]["state"] == "enabled"
    assert log_in(browser).status_code == 200
    wrong(browser, ALLOWED, "admin")
    wait(engine, LOCK_SECONDS + 1)
    assert log_in(browser).status_code == 200


def test_an_administrators_new_password_begins_the_count_anew(browser, api, factory):
    wrong(browser, ALLOWED)
    api("updateUser", id=factory.first(User, username="jo").id, password="changed")
    assert log_in(browser, "jo", "changed").status_code == 200


def test_the_number_and_the_time_are_settings(browser, api, engine):
    api("updateConfiguration", name="incorrect.login.attempts.allowed", value=1)
    api("updateConfiguration", name="incorrect.login.lock.minutes", value=1)
    wrong(browser, 1)
    assert log_in(browser, "jo", "password").status_code == 531
    wait(engine, 61)
    assert log_in(browser, "jo", "password").status_code == 200
    api("updateConfiguration", name="incorrect.login.attempts.allowed", value=0)
    wrong(browser, ALLOWED + 2)
    assert log_in(browser, "jo", "password").status_code == 200


@pytest.fixture(params=["wrong", "unknown", "shut out", "locked", "disabled", "disabled account", "other domain"])
def refused(request, browser, api, factory):
    """What is given to log in, for each cause of a refusal."""
    jo = factory.first(User, username="jo")
    given = {"username": "jo", "password": "password"}
    if request.param == "wrong":
        given["password"] = "wrong"
    elif request.param == "unknown":
        given["username"] = "nobody"
    elif request.param == "shut out":
        wrong(browser, ALLOWED)
    elif request.param == "locked":
        api("lockUser", id=jo.id)
    elif request.param == "disabled":
        api("disableUser", id=jo.id)
    elif request.param == "disabled account":
        api("disableAccount", id=jo.account_id, lock=True)
    else:
        given["domain"] = "/elsewhere"
    return given


def test_all_refusals_are_alike_after_the_same_work(refused, browser, engine, monkeypatch):
    """The same statements in the same order, and one comparison with a hash of the same cost, of whatever password."""
    log_in(browser, "nobody", "warm")
    compared = []

    def compare(hashed, password):
        compared.append(hashed.rsplit("$", 2)[0])
        return secrets.password_matches(hashed, password)

    monkeypatch.setattr(login_command, "password_matches", compare)
    with statements(engine) as sent:
        answer = log_in(browser, **refused)
    body = answer.get_json()["loginresponse"]
    assert compared == [secrets.hash_password("x").rsplit("$", 2)[0]]
    shape = [re.match(r"\w+( INTO)? \w+", text)[0] for text in sent if not text.startswith("BEGIN")]
    looked = ["SELECT ldap_servers", "SELECT configuration", "SELECT users"]
    assert shape == [*looked, "UPDATE users", "INSERT INTO events"]
    assert (answer.status_code, body["errorcode"], body["cserrorcode"]) == (531, 531, 4290)
    assert body["errortext"] == (
        f"Failed to authenticate user {refused['username']} in domain {refused.get('domain', '/')}; "
        "please provide valid credentials"
    )
    assert set(answer.headers.keys()) == set(log_in(browser, "nobody", "x").headers.keys())


def test_many_at_once_are_looked_at_no_more_often_than_allowed(
    any_browser, any_api, any_factory, any_engine, monkeypatch
):
    """Threads with connections of their own; what was compared with the user's own hash is counted."""
    own = any_factory.first(User, username="jo").password_hash
    looked_at = []

    def compare(hashed, password):
        if hashed == own:
            looked_at.append(password)
        return secrets.password_matches(hashed, password)

    monkeypatch.setattr(login_command, "password_matches", compare)
    together = threading.Barrier(8)

    def guess(number):
        client = any_api.app.test_client()
        together.wait()
        for turn in range(2):
            assert log_in(client, "jo", f"guess-{number}-{turn}").status_code == 531

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(looked_at), failed(any_factory)) == (ALLOWED, ALLOWED)


def test_refused_logins_leave_events(browser, api, factory):
    wrong(browser, 1)
    log_in(browser, "nobody", "secret")
    jo = factory.first(User, username="jo")
    wrong(browser, ALLOWED)
    api("lockUser", id=factory.first(User, username="jo").id)
    wrong(browser, 1)
    locked, shut_out, *_, unknown, known = api("listEvents", type="USER.LOGIN", level="ERROR", listall=True)["event"]
    assert (known["username"], known["sourceaddress"], known["resourceid"]) == ("jo", "127.0.0.1", jo.id)
    assert (known["level"], known["description"]) == ("ERROR", f"login: User {jo.id}, wrong password")
    assert shut_out["description"] == f"login: User {jo.id}, too many wrong passwords or codes before"
    assert locked["description"] == f"login: User {jo.id} is not enabled"
    assert unknown["description"] == "login: unknown user"
    assert "nobody" not in str(unknown)
    with pytest.raises(KeyError):
        api("listEvents", type="USER.LOGIN", level="ERROR", accountid=None, keyword="nobody")["event"]


def test_the_present_password_is_not_guessed_either(browser, api, factory, engine):
    """A wrong one counts as a login's does, and changes nothing else that the call asks for."""
    jo = Caller.of(engine, "jo")
    given = {"id": jo.user.id, "password": "new-password", "firstname": "New"}
    for _ in range(ALLOWED):
        with pytest.raises(Refused, match=r"431 .*not the present password"):
            api("updateUser", jo, currentpassword="wrong", **given)
    with pytest.raises(Refused, match=r"431 .*not the present password"):
        api("updateUser", jo, currentpassword="password", **given)
    assert factory.first(User, username="jo").first_name == "F"
    api("enableUser", id=jo.user.id)
    assert api("updateUser", jo, currentpassword="password", **given)["user"]["firstname"] == "New"
    assert log_in(browser, "jo", "new-password").status_code == 200


def test_a_login_under_way_while_the_password_changes_gets_no_session(any_api, any_factory, any_engine, any_browser):
    """The password is read, then changed by another call, then counted: the hash that was read is no more the one."""
    changed = []

    def change(_connection, _cursor, statement, *_rest):
        if statement.startswith("UPDATE users") and not changed and any_engine.dialect.name != "sqlite":
            changed.append(True)
            any_api("updateUser", id=any_factory.first(User, username="jo").id, password="changed")

    event.listen(any_engine, "before_cursor_execute", change)
    status = log_in(any_browser, "jo", "password").status_code
    event.remove(any_engine, "before_cursor_execute", change)
    assert status == (531 if changed else 200)
