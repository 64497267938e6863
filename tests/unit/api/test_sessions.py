"""Login, its cookies, its end."""

import json
import threading

import pytest
from sqlalchemy import select, update

from manager import db
from manager.api import sessions
from manager.app import create_app
from manager.models import LoginSession, User

LOGIN = {"command": "login", "response": "json"}


@pytest.fixture
def browser(api):
    return api.app.test_client()


def log_in(browser, username="admin", password="admin-password", base_url=None, **more):  # noqa: S107 - the seed's
    data = {**LOGIN, "username": username, "password": password, **more}
    return browser.post("/client/api", data=data, base_url=base_url)


def list_apis(browser, **parameters):
    return browser.get(
        "/client/api", query_string={"command": "listApis", "name": "login", "response": "json", **parameters}
    )


def key_of(answer):
    return answer.get_json()["loginresponse"]["sessionkey"]


def test_login_describes_the_user(api, browser):
    body = log_in(browser).get_json()["loginresponse"]
    assert (body["username"], body["account"], body["type"], body["timeout"]) == ("admin", "admin", "1", 1800)
    assert (body["registered"], body["is2faenabled"], body["is2faverified"]) == ("true", "false", "true")
    assert len(body["sessionkey"]) == 27
    assert api("listEvents", type="USER.LOGIN")["event"][0]["resourceid"] == body["userid"]


def test_cookies(browser):
    cookies = log_in(browser).headers.getlist("Set-Cookie")
    assert [cookie.split("=")[0] for cookie in cookies] == ["JSESSIONID", "sessionkey"]
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies)


@pytest.mark.parametrize("domain", ["", "/", "ROOT-less"])
def test_login_by_domain_path(browser, domain):
    assert log_in(browser, domain=domain).status_code == (531 if domain == "ROOT-less" else 200)


def test_login_in_a_sub_domain_by_path_or_id(browser, factory):
    deep = factory.domain("b", factory.domain("a"))
    factory.user("jo", factory.account("jo", deep))
    for domain in ("a/b", "/a/b", "/a/b/"):
        assert log_in(browser, "jo", "password", domain=domain).status_code == 200
    assert log_in(browser, "jo", "password", domainId=deep.id).status_code == 200
    assert log_in(browser, "jo", "password").status_code == 531


def test_the_command_is_login_in_any_case_and_by_query_string(browser):
    parameters = {**LOGIN, "command": "LOGIN", "username": "admin", "password": "admin-password"}
    assert browser.post("/client/api", query_string=parameters).status_code == 200


def test_cookies_of_https_are_for_https_alone(browser):
    answer = log_in(browser, base_url="https://localhost")
    assert all("; Secure" in cookie for cookie in answer.headers.getlist("Set-Cookie"))
    assert not any("Secure" in cookie for cookie in log_in(browser).headers.getlist("Set-Cookie"))


def test_login_by_get_is_405(browser):
    answer = browser.get("/client/api", query_string={**LOGIN, "username": "admin", "password": "admin-password"})
    assert answer.status_code == 405


@pytest.mark.parametrize(("username", "password"), [("admin", "wrong"), ("nobody", "admin-password")])
def test_bad_logins_are_alike(browser, username, password):
    answer = log_in(browser, username, password)
    error = answer.get_json()["loginresponse"]
    assert (answer.status_code, error["errorcode"], error["cserrorcode"]) == (531, 531, 4290)
    assert not answer.headers.getlist("Set-Cookie")


def test_a_session_needs_cookie_and_parameter(api, browser):
    key = key_of(log_in(browser))
    assert list_apis(browser, sessionkey=key).status_code == 200
    for parameters in ({}, {"sessionkey": "wrong"}, {"sessionkey": ""}):
        answer = list_apis(browser, **parameters)
        assert answer.status_code == 401
        assert answer.get_json()["listapisresponse"]["errortext"] == "unable to verify user credentials"
    assert list_apis(api.app.test_client(), sessionkey=key).status_code == 401
    for cookie in ("wrong", ""):
        browser.set_cookie("sessionkey", cookie, path="/client")
        assert list_apis(browser, sessionkey=key).status_code == 401


def test_the_cookie_of_another_session_does_not_do(api, browser):
    other = api.app.test_client()
    key = key_of(log_in(browser))
    log_in(other)
    browser.set_cookie("JSESSIONID", other.get_cookie("JSESSIONID", path="/client").value, path="/client")
    assert list_apis(browser, sessionkey=key).status_code == 401


def test_logout(browser):
    key = key_of(log_in(browser))
    answer = browser.get("/client/api", query_string={"command": "logout", "response": "json", "sessionkey": key})
    assert json.loads(answer.data) == {"logoutresponse": {"description": "success"}}
    assert all("Expires=Thu, 01 Jan 1970" in cookie for cookie in answer.headers.getlist("Set-Cookie"))
    assert list_apis(browser, sessionkey=key).status_code == 401


def test_parallel_logins_through_two_managers_never_mix(any_engine, any_factory):
    """Each thread logs in as its own user, now here and now there, and asks who it is."""
    apps = [create_app(any_engine) for _ in range(2)]
    for number in range(4):
        any_factory.user(f"user{number}")
    told = []

    def come_and_go(number):
        for turn in range(3):
            browser = apps[(number + turn) % 2].test_client()
            key = key_of(log_in(browser, f"user{number}", "password"))
            other = apps[(number + turn + 1) % 2].test_client()
            for name in ("JSESSIONID", "sessionkey"):
                other.set_cookie(name, browser.get_cookie(name, path="/client").value, path="/client")
            asked = {"command": "listUsers", "response": "json", "sessionkey": key}
            (user,) = other.get("/client/api", query_string=asked).get_json()["listusersresponse"]["user"]
            told.append((f"user{number}", user["username"]))

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 12
    assert all(asked == answered for asked, answered in told)


def age(engine, seconds):
    with db.transaction(engine) as session:
        session.execute(update(LoginSession).values(last_used=LoginSession.last_used - seconds))


def test_a_session_ends_half_an_hour_after_its_last_use(browser, engine):
    key = key_of(log_in(browser))
    for _ in range(2):
        age(engine, 1700)
        assert list_apis(browser, sessionkey=key).status_code == 200
    age(engine, 1801)
    assert list_apis(browser, sessionkey=key).status_code == 401


def test_the_time_without_a_call_is_a_setting(api, browser, engine):
    api("updateConfiguration", name="session.timeout", value=5)
    answer = log_in(browser)
    assert answer.get_json()["loginresponse"]["timeout"] == 300
    key = key_of(answer)
    age(engine, 290)
    assert list_apis(browser, sessionkey=key).status_code == 200
    age(engine, 301)
    assert list_apis(browser, sessionkey=key).status_code == 401
    log_in(browser)
    with db.transaction(engine) as session:
        assert len(session.scalars(select(LoginSession)).all()) == 1


ENDINGS = {
    "password": lambda api, user: api("updateUser", id=user.id, password="another"),
    "disabled": lambda api, user: (api("disableUser", id=user.id), api("enableUser", id=user.id)),
    "locked": lambda api, user: (api("lockUser", id=user.id), api("enableUser", id=user.id)),
    "deleted": lambda api, user: api("deleteUser", id=user.id),
    "moved": lambda api, user: api("moveUser", id=user.id, account="other"),
    "account locked": lambda api, user: (
        api("disableAccount", id=user.account_id, lock=True),
        api("enableAccount", id=user.account_id),
    ),
    "account disabled": lambda api, user: api("disableAccount", id=user.account_id, lock=False),
    "account deleted": lambda api, user: api("deleteAccount", id=user.account_id),
    "domain deleted": lambda api, user: api("deleteDomain", id=shown(api, user)["domainid"], cleanup=True),
    "other role": lambda api, user: api("updateAccount", id=user.account_id, roleid=role(api, "Resource Admin")),
    "role disabled": lambda api, user: [
        api(command, id=shown(api, user)["roleid"]) for command in ("disableRole", "enableRole")
    ],
}


def role(api, name):
    return api("listRoles", name=name)["role"][0]["id"]


def shown(api, user):
    return api("listUsers", id=user.id)["user"][0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ends_the_sessions_of_a_user(api, browser, factory, engine, ending):
    """They are gone from the database, and so do not come back with what made them end."""
    west = factory.domain("west")
    staff = api("createRole", name="staff", type="User")["role"]["id"]
    api("createRolePermission", roleid=staff, rule="*", permission="allow")
    new = {"username": "jo", "password": "password", "firstname": "J", "lastname": "D", "email": "j@example.org"}
    api("createAccount", roleid=staff, domainid=west.id, **new)
    factory.account("other", west)
    key = key_of(log_in(browser, "jo", "password", domain="west"))
    assert list_apis(browser, sessionkey=key).status_code == 200
    stranger = api.app.test_client()
    other = key_of(log_in(stranger))
    ENDINGS[ending](api, factory.first(User, username="jo"))
    with db.transaction(engine) as session:
        assert [row.user_id for row in session.scalars(select(LoginSession))] == [api.admin.user.id]
    assert list_apis(browser, sessionkey=key).status_code == 401
    assert list_apis(stranger, sessionkey=other).status_code == 200


@pytest.mark.parametrize("kind", ["User", "Account", "Role"])
def test_a_login_that_is_later_than_its_end_does_not_come_back(api, factory, engine, kind):
    """What a login under way opens after its user was shut out is ended before the user is let in again."""
    staff = api("createRole", name="staff", type="User")["role"]["id"]
    new = {"username": "jo", "password": "password", "firstname": "J", "lastname": "D", "email": "j@example.org"}
    api("createAccount", roleid=staff, **new)
    user = factory.first(User, username="jo")
    given = {"id": {"User": user.id, "Account": user.account_id, "Role": staff}[kind]}
    api(f"disable{kind}", **given, **({"lock": True} if kind == "Account" else {}))
    with db.transaction(engine) as session:
        sessions.open_session(session, user.id, verified=True)
    api(f"enable{kind}", **given)
    with db.transaction(engine) as session:
        assert session.scalars(select(LoginSession)).all() == []


def test_an_unknown_command_in_a_session_is_432(browser):
    key = key_of(log_in(browser))
    answer = browser.get("/client/api", query_string={"command": "listNothing", "response": "json", "sessionkey": key})
    error = answer.get_json()["errorresponse"]
    assert error["errorcode"] == 432
    assert "The API [listNothing] does not exist or is not available for the account admin" in error["errortext"]


def test_no_command_in_a_session_is_400(browser):
    key = key_of(log_in(browser))
    assert browser.get("/client/api", query_string={"response": "json", "sessionkey": key}).status_code == 400


def test_a_change_of_password_ends_sessions(api, browser, factory):
    factory.user("jo")
    key = key_of(log_in(browser, "jo", "password"))
    api("updateUser", id=factory.first(User, username="jo").id, password="another")
    assert list_apis(browser, sessionkey=key).status_code == 401
    assert log_in(browser, "jo", "password").status_code == 531
    assert log_in(browser, "jo", "another").status_code == 200


def test_tokens_are_stored_as_hashes(browser, engine):
    key = key_of(log_in(browser))
    token = browser.get_cookie("JSESSIONID", path="/client").value
    with db.transaction(engine) as session:
        row = session.scalars(select(LoginSession)).one()
    assert token not in (row.token_hash, row.session_key_hash)
    assert key not in (row.token_hash, row.session_key_hash)
