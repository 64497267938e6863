"""Second factors: setup, codes, what a login may do before its code, and who takes them away."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pyotp
import pytest
from sqlalchemy import text, update

from manager import cli, db
from manager.api import second_factor
from manager.models import SecondFactor, User
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import statements
from tests.unit.api.test_sessions import key_of, log_in

SETUP, VALIDATE = "setupUserTwoFactorAuthentication", "validateUserTwoFactorAuthenticationCode"
NOW = 1_800_000_000
WRONG = "two-factor authentication code provided is invalid"


class Browser:
    """A client with a login: `browser("listUsers")` gives status and what stands under the wrapper."""

    def __init__(self, app, username="jo", password="password"):  # noqa: S107 - the factory's
        self.client = app.test_client()
        self.login = log_in(self.client, username, password)
        assert self.login.status_code == 200
        self.about = self.login.get_json()["loginresponse"]

    def __call__(self, command, **given):
        asked = {"command": command, "response": "json", "sessionkey": key_of(self.login), **given}
        answer = self.client.post("/client/api", data=asked)
        (content,) = answer.get_json().values()
        return answer.status_code, content

    def state(self):
        return tuple(self.about.get(name) for name in ("is2faenabled", "is2faverified", "providerfor2fa"))


def code(secret, steps=0):
    return pyotp.TOTP(secret).at(NOW + 30 * steps)


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch):
    """No step of time ends between making a code and looking at it."""
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: float(NOW)))


def forget_codes(engine):
    """As if the codes that were given were older."""
    with db.transaction(engine) as session:
        session.execute(update(SecondFactor).values(last_step=0))


@pytest.fixture
def jo(api, factory, engine):
    api("updateConfiguration", name="enable.user.2fa", value=True)
    factory.user("jo")
    return Caller.of(engine, "jo")


@pytest.fixture
def secret(api, jo, engine):
    """Of jo, who has a second factor; the code that ended the setup may be used again."""
    found = api(SETUP, jo)["setup2fa"]["secretcode"]
    api(VALIDATE, jo, codefor2fa=code(found))
    forget_codes(engine)
    return found


@pytest.fixture
def browser(api, jo):
    return lambda *given: Browser(api.app, *given)


def test_setup_in_a_session_ends_with_the_first_code(browser, jo):
    first, other = browser(), browser()
    assert first.state() == ("false", "true", None)
    status, made = first(SETUP, provider="totp")
    setup = made["setup2fa"]
    assert (status, setup["id"], setup["username"], setup["accountid"]) == (200, jo.user.id, "jo", jo.account.id)
    assert first("listUsers")[1]["user"][0]["is2faenabled"] is False
    assert browser().state() == ("false", "true", None)
    assert first(VALIDATE, codefor2fa=code(setup["secretcode"])) == (200, {"success": True})
    assert first("listUsers")[1]["user"][0]["is2faenabled"] is True
    assert other("listUsers")[0] == 401
    assert browser().state() == ("true", "false", "totp")


def test_before_its_code_a_login_may_do_next_to_nothing(browser, secret, api, factory):
    login = browser()
    for command in ("listUsers", "getUserKeys", "registerUserKeys", "updateUser", "nosuch"):
        status, refusal = login(command, id=login.about["userid"])
        assert (status, refusal["errorcode"]) == (511, 511), command
        assert "verify it by validateUserTwoFactorAuthenticationCode" in refusal["errortext"]
    for command in ("listApis", "listUserTwoFactorAuthenticatorProviders"):
        assert login(command)[0] == 200
    assert login(SETUP, enable="false", codefor2fa=code(secret))[0] == 511
    status, refusal = login(SETUP)
    assert (status, "has a second factor" in refusal["errortext"]) == (431, True)
    assert login(VALIDATE, codefor2fa=code(secret))[0] == 200
    assert login("listUsers")[0] == 200
    assert login("logout")[0] == 200


def test_an_administrator_whose_code_is_awaited_takes_nobodys_factor_away(browser, secret, api, engine, admin, jo):
    own = api(SETUP)["setup2fa"]["secretcode"]
    api(VALIDATE, codefor2fa=code(own))
    login = browser("admin", "admin-password")
    assert login(SETUP, enable="false", userid=jo.user.id)[0] == 511
    assert api("listUsers", id=jo.user.id)["user"][0]["is2faenabled"] is True


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_counts_once_and_none_before_it_afterwards(browser, secret, steps):
    given = code(secret, steps)
    assert browser()(VALIDATE, codefor2fa=given)[0] == 200
    login = browser()
    for again in (given, code(secret, steps - 1)):
        status, refusal = login(VALIDATE, codefor2fa=again)
        assert (status, refusal["errortext"]) == (511, WRONG)
    assert login("listUsers")[0] == 511


@pytest.mark.parametrize("steps", [-3, 3])
def test_a_code_of_another_time_is_wrong(browser, secret, steps):
    assert browser()(VALIDATE, codefor2fa=code(secret, steps))[0] == 511


@pytest.mark.parametrize("given", ["", "é", "12345", "0" * 200])
def test_what_is_no_code_is_refused(browser, secret, given):
    assert browser()(VALIDATE, codefor2fa=given)[0] == (431 if not given else 511)


def test_codes_are_not_guessed_not_even_with_new_logins(browser, secret, api, jo, engine):
    """Wrong codes and wrong passwords share their count, and a right password does not begin it anew."""
    for _ in range(3):
        assert browser()(VALIDATE, codefor2fa="000000")[0] == 511
    log_in(api.app.test_client(), "jo", "wrong")
    login = browser()
    assert login(VALIDATE, codefor2fa="000000")[0] == 511
    assert log_in(api.app.test_client(), "jo", "password").status_code == 531
    status, refusal = login(VALIDATE, codefor2fa=code(secret))
    assert (status, refusal["errortext"]) == (511, WRONG)
    api("enableUser", id=jo.user.id)
    forget_codes(engine)
    assert browser()(VALIDATE, codefor2fa=code(secret))[0] == 200
    with db.transaction(engine) as session:
        assert session.get_one(User, jo.user.id).failed_logins == 0


def test_codes_are_limited_where_passwords_are_not(browser, secret, api):
    api("updateConfiguration", name="incorrect.login.attempts.allowed", value=0)
    login = browser()
    for _ in range(5):
        login(VALIDATE, codefor2fa="000000")
    assert login(VALIDATE, codefor2fa=code(secret))[0] == 511


def test_wrong_codes_leave_events_without_the_code(browser, secret, api):
    browser()(VALIDATE, codefor2fa="123321")
    event = api("listEvents", type="USER.LOGIN", level="ERROR", listall=True)["event"][0]
    assert (event["username"], event["description"]) == ("jo", f"{VALIDATE}: {WRONG}")
    assert (event["parameters"]["codefor2fa"], event["sourceaddress"]) == ("(hidden)", "127.0.0.1")


def test_one_code_at_once_from_many_verifies_one_session(any_api, any_engine, any_factory):
    any_api("updateConfiguration", name="enable.user.2fa", value=True)
    any_factory.user("jo")
    jo = Caller.of(any_engine, "jo")
    found = any_api(SETUP, jo)["setup2fa"]["secretcode"]
    any_api(VALIDATE, jo, codefor2fa=code(found, -1))
    logins = [Browser(any_api.app) for _ in range(4)]
    together, given, answers = threading.Barrier(4), code(found, 1), []

    def validate(login):
        together.wait()
        answers.append(login(VALIDATE, codefor2fa=given)[0])

    threads = [threading.Thread(target=validate, args=(login,)) for login in logins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 511, 511, 511]


def test_signed_calls_need_no_code_but_disabling_does(api, secret, jo):
    assert api("listUsers", jo)["count"] == 1
    with pytest.raises(Refused, match=r"431 .*give a code of it as codefor2fa"):
        api(SETUP, jo, enable=False)
    with pytest.raises(Refused, match=f"511 {WRONG}"):
        api(SETUP, jo, enable=False, codefor2fa="000000")
    with pytest.raises(Refused, match=r"431 .*give a code of it as codefor2fa"):
        api(SETUP, jo, enable=False, userid=jo.user.id)
    with pytest.raises(Refused, match=r"431 The user jo has a second factor"):
        api(SETUP, jo)
    assert "secretcode" not in api(SETUP, jo, enable=False, codefor2fa=code(secret))["setup2fa"]
    assert api("listUsers", jo)["user"][0]["is2faenabled"] is False
    assert api(SETUP, jo)["setup2fa"]["secretcode"] != secret


def test_who_takes_anothers_factor_away(api, secret, jo, engine, factory, browser):
    login = browser()
    login(VALIDATE, codefor2fa=code(secret))
    west = factory.domain("west")
    factory.user("friend", jo.account)
    for name, account in (("wanda", factory.account("wanda", west, type=2)), ("ann", factory.account("ann"))):
        factory.user(name, account)
    with pytest.raises(Refused, match=r"531 The second factor of jo is taken away by"):
        api(SETUP, Caller.of(engine, "friend"), enable=False, userid=jo.user.id)
    for name in ("wanda", "ann"):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(SETUP, Caller.of(engine, name), enable=False, userid=jo.user.id)
    with pytest.raises(Refused, match=r"431 Users set up their second factors themselves"):
        api(SETUP, userid=jo.user.id)
    assert api(SETUP, enable=False, userid=jo.user.id)["setup2fa"]["username"] == "jo"
    assert login("listUsers")[0] == 401
    assert browser().state() == ("false", "true", None)


@pytest.mark.parametrize("place", ["user", "domain", "everywhere"])
def test_who_must_have_one_sets_it_up_at_the_next_login(api, jo, factory, engine, browser, place):
    earlier = browser()
    if place == "user":
        assert api("updateUser", id=jo.user.id, mandate2fa=True)["user"]["is2famandated"] is True
        assert earlier("listUsers")[0] == 401
    else:
        where = {"domainid": jo.account.domain_id} if place == "domain" else {}
        api("updateConfiguration", name="mandate.user.2fa", value=True, **where)
    login = browser()
    assert login.state() == ("true", "false", None)
    status, refusal = login("listUsers")
    assert (status, "mandated by the administrator" in refusal["errortext"]) == (511, True)
    found = login(SETUP)[1]["setup2fa"]["secretcode"]
    assert login("listUsers")[0] == 511
    assert login(VALIDATE, codefor2fa=code(found))[0] == 200
    (shown,) = login("listUsers")[1]["user"]
    assert (shown["is2faenabled"], shown["is2famandated"]) == (True, True)


def test_a_narrow_role_keeps_nobody_from_proving_who_they_are(api, jo, browser):
    narrow = api("createRole", name="narrow", type="User")["role"]["id"]
    api("createRolePermission", roleid=narrow, rule="listUsers", permission="allow")
    api("updateAccount", id=jo.account.id, roleid=narrow)
    api("updateUser", id=jo.user.id, mandate2fa=True)
    login = browser()
    found = login(SETUP)[1]["setup2fa"]["secretcode"]
    assert login(VALIDATE, codefor2fa=code(found))[0] == 200
    assert login("listUsers")[0] == 200
    assert login(SETUP)[0] == login("listApis")[0] == 432


def test_a_domain_has_its_own_rule_and_those_below_follow_it(api, factory, engine):
    west = factory.domain("west")
    deep = factory.domain("deep", west)
    for name, domain in (("will", west), ("dora", deep), ("ed", factory.domain("east"))):
        factory.user(name, factory.account(name, domain))
    for setting in ("enable.user.2fa", "mandate.user.2fa"):
        api("updateConfiguration", name=setting, value=True, domainid=west.id)
    shown = {user["username"]: user["is2famandated"] for user in api("listUsers", listall=True)["user"]}
    assert shown == {"admin": False, "will": True, "dora": True, "ed": False}
    with pytest.raises(Refused, match=r"431 The setting enable.user.2fa admits no second factors in ROOT/east"):
        api(SETUP, Caller.of(engine, "ed"))
    api(SETUP, Caller.of(engine, "dora"))


def test_users_of_many_domains_take_the_statements_of_one(api, factory, engine):
    west = factory.domain("west")
    api("updateConfiguration", name="enable.user.2fa", value=True, domainid=west.id)

    def sent(*names):
        for name in names:
            low = factory.domain(f"{name}-low", factory.domain(name, west))
            factory.user(name, factory.account(name, low))
        with statements(engine) as found:
            assert api("listUsers", listall=True)["count"] > len(names)
        return len(found)

    assert sent("a") == sent(*"bcdefgh")


def test_mandating_is_for_administrators(api, jo, engine, factory):
    with pytest.raises(Refused, match=r"531 The parameter mandate2fa"):
        api("updateUser", jo, id=jo.user.id, mandate2fa=False)
    api("updateUser", id=api.admin.user.id, mandate2fa=True)
    with pytest.raises(Refused, match=r"431 .*lifted by another administrator"):
        api("updateUser", id=api.admin.user.id, mandate2fa=False)
    api("updateUser", id=jo.user.id, mandate2fa=True)
    assert api("updateUser", id=jo.user.id, mandate2fa=False)["user"]["is2famandated"] is False
    api("updateConfiguration", name="enable.user.2fa", value=False)
    with pytest.raises(Refused, match=r"431 The setting enable.user.2fa admits"):
        api("updateUser", id=jo.user.id, mandate2fa=True)


def test_the_operator_lets_in_who_lost_everything(secret, browser, api, monkeypatch):
    for _ in range(5):
        log_in(api.app.test_client(), "jo", "wrong")
    monkeypatch.setattr("sys.argv", ["cli", "admit", "jo", "elsewhere"])
    with pytest.raises(SystemExit, match="no user jo in the domain ROOT/elsewhere"):
        cli.main()
    monkeypatch.setattr("sys.argv", ["cli", "admit", "jo"])
    cli.main()
    assert browser().state() == ("false", "true", None)
    assert "took away" in api("listEvents", type="USER.UPDATE", listall=True)["event"][0]["description"]


def test_the_secret_is_sealed_and_goes_with_its_user(api, secret, jo, engine):
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT secret FROM second_factors")).scalar_one()
    assert secret not in kept
    assert secret not in str(api("listEvents", listall=True, pagesize=-1))
    api("deleteUser", id=jo.user.id)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM second_factors")).scalar_one() == 0


def test_providers(api, jo):
    (provider,) = api("listUserTwoFactorAuthenticatorProviders", jo)["providers"]
    assert provider["name"] == "totp"
    assert api("listUserTwoFactorAuthenticatorProviders", jo, name="staticpin") == {}
    with pytest.raises(Refused, match=r"431 There is no provider staticpin"):
        api(SETUP, jo, provider="staticpin")
    with pytest.raises(Refused, match=r"431 You have no second factor"):
        api(VALIDATE, jo, codefor2fa="000000")
