"""Login, its cookies, its end."""

import json

import pytest
from sqlalchemy import select, update

from manager import db
from manager.models import LoginSession, User

LOGIN = {"command": "login", "response": "json"}


@pytest.fixture
def browser(api):
    return api.app.test_client()


def log_in(browser, username="admin", password="admin-password", **more):  # noqa: S107 - the seed's
    return browser.post("/client/api", data={**LOGIN, "username": username, "password": password, **more})


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
