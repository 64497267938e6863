"""Login by an OpenID provider: who is let in, what of a provider's word does not count, and no difference."""

import base64
import hmac
import json
import threading
import time

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from sqlalchemy import select, update
from structlog.testing import capture_logs

from manager import db, oidc
from manager.models import OauthCode, OauthProvider, User
from tests.client import Refused
from tests.openid import CLIENT, SECRET, Provider, Running

CALLBACK = "https://cloud.example.org/client/oauth/corp/callback"
REFUSED = "Failed to authenticate by the provider corp; please provide valid credentials"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("openid")) as provider:
        yield provider


@pytest.fixture
def provider(running, monkeypatch):
    """The provider as it is when nobody has it lie, and trusted as operators have others trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
    oidc.forget()
    running.client.redirect_uri = CALLBACK
    vars(running).update(vars(Provider(running.url, running.client, running.certificate, running.key)))
    return running


@pytest.fixture
def causes():
    """What operators are told of refusals."""
    with capture_logs() as logs:
        yield logs


@pytest.fixture
def enabled(api):
    api("updateConfiguration", name="oauth2.enabled", value="true")
    api("updateConfiguration", name="oauth2.allowed.networks", value="127.0.0.0/8")


@pytest.fixture
def registered(api, provider, enabled):
    return register(api, provider)


def register(api, openid, **more):
    given = {"provider": "corp", "description": "our directory", "clientid": CLIENT, "secretkey": SECRET,
             "redirecturi": CALLBACK, "issuerurl": openid.url, **more}  # fmt: skip
    return api("registerOauthProvider", **given)["oauthprovider"]


@pytest.fixture
def jo(factory):
    user = factory.user("jo")
    factory.change(user, email="Jo@Example.org")
    return user


def log_in(api, code, **more):
    given = {"command": "oauthlogin", "response": "json", "provider": "corp", "email": "jo@example.org",
             "secretcode": code, **more}  # fmt: skip
    answer = api.app.test_client().post("/client/api", data=given)
    ((_, body),) = answer.get_json().items()
    return answer.status_code, body


def refusal(api, code, **more):
    status, body = log_in(api, code, **more)
    assert (status, body["errorcode"]) == (531, 531)
    return body["errortext"]


def browse(api, provider, **more):
    """A browser's way through start and the provider, and what it brings to the callback."""
    browser = api.app.test_client()
    sent = browser.get("/client/oauth/corp/start", query_string=more)
    assert sent.status_code == 303, sent.text
    return browser, provider.visit(sent.headers["Location"])


def come_back(browser, brought):
    return browser.get("/client/oauth/corp/callback", query_string=brought)


# --- the commands -----------------------------------------------------------------------------------------------------


def test_a_provider_is_kept_and_its_secret_is_never_shown(api, engine, registered):
    assert registered["provider"] == "corp"
    assert registered["enabled"] is True
    listed = api.app.test_client().get("/client/api?command=listOauthProvider&response=json")
    assert listed.get_json()["listoauthproviderresponse"] == {"count": 1, "oauthprovider": [registered]}
    assert SECRET not in listed.text + json.dumps(api("listEvents"))
    with engine.connect() as connection:
        (stored,) = connection.exec_driver_sql("SELECT secret_key FROM oauth_providers").one()
    assert SECRET not in stored


def test_lists_are_narrowed(api, provider, registered):
    other = register(api, provider, provider="Other-1")
    assert other["provider"] == "other-1"
    for narrowed in ({"id": other["id"]}, {"provider": "OTHER-1"}):
        assert api("listOauthProvider", **narrowed)["oauthprovider"] == [other]
    assert api("listOauthProvider", provider="none") == {}


def test_a_change_keeps_what_is_not_given(api, provider, registered):
    changed = api("updateOauthProvider", id=registered["id"], description="new", enabled="false")["oauthprovider"]
    assert changed == registered | {"description": "new", "enabled": False}
    api("updateOauthProvider", id=registered["id"], secretkey="other", clientid="c", issuerurl="https://i.example.org/",
        redirecturi="http://localhost/x?verifyOauth")  # fmt: skip
    event = api("listEvents", type="OAUTH.PROVIDER.UPDATE")["event"][0]
    assert event["changes"]["issuer"] == [provider.url, "https://i.example.org/"]
    assert "other" not in json.dumps(event)


def test_a_deleted_provider_lets_nobody_in_and_its_name_is_free(api, provider, registered, jo):
    code = provider.code()
    assert api("deleteOauthProvider", id=registered["id"])["success"] is True
    assert api("listOauthProvider") == {}
    assert refusal(api, code) == REFUSED
    register(api, provider)
    assert log_in(api, code)[0] == 200


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"provider": "github"}, "gives no ID tokens"),
        ({"provider": "keycloak", "issuerurl": None}, "needs its issuerurl"),
        ({"provider": "a/b"}, "letters, digits and hyphens"),
        ({"provider": "CORP"}, "registered already"),
        ({"provider": "p", "issuerurl": "http://i.example.org"}, "issuerurl must be https"),
        ({"provider": "p", "issuerurl": "https://i.example.org/?a=b"}, "a query or a fragment"),
        ({"provider": "p", "issuerurl": "https://u:p@i.example.org"}, "user name or password"),
        ({"provider": "p", "redirecturi": "https://c.example.org/#/x"}, "a query or a fragment"),
        ({"provider": "p", "redirecturi": "file:///etc/passwd"}, "redirecturi must be https or http"),
    ],
)
def test_what_is_no_provider_is_refused(api, provider, registered, more, text):
    with pytest.raises(Refused, match=text) as refused:
        register(api, provider, **more)
    assert refused.value.code == 431


def test_googles_issuer_is_known(api, provider, enabled):
    google = register(api, provider, provider="google", issuerurl=None)
    assert google["issuerurl"] == "https://accounts.google.com"


def test_nothing_is_registered_and_nobody_let_in_while_oauth_is_off(api, provider, registered, jo):
    api("updateConfiguration", name="oauth2.enabled", value="false")
    assert api("listOauthProvider")["oauthprovider"][0]["enabled"] is False
    with pytest.raises(Refused, match=r"set oauth2\.enabled to true first"):
        register(api, provider, provider="other")
    assert refusal(api, provider.code()) == REFUSED


# --- login with a code ------------------------------------------------------------------------------------------------


def test_a_code_logs_its_user_in(api, provider, registered, jo):
    status, body = log_in(api, provider.code())
    assert (status, body["username"], body["userid"]) == (200, "jo", jo.id)
    assert api("listEvents", type="USER.LOGIN", listall=True)["event"][0]["resourceid"] == jo.id


def test_the_session_is_one_as_of_a_login(api, provider, registered, jo):
    browser = api.app.test_client()
    form = {"command": "oauthlogin", "response": "json", "provider": "corp", "email": "jo@example.org"}
    key = browser.post("/client/api", data={**form, "secretcode": provider.code()}).get_json()
    key = key["oauthloginresponse"]["sessionkey"]
    asked = {"command": "listUsers", "response": "json", "sessionkey": key}
    assert browser.get("/client/api", query_string=asked).get_json()["listusersresponse"]["user"][0]["id"] == jo.id


def test_a_verified_code_is_good_for_one_login(api, engine, provider, registered, jo):
    code = provider.code()
    verified = api("verifyOAuthCodeAndGetUser", provider="corp", secretcode=code)
    assert verified == {"oauthemail": {"email": "jo@example.org"}}
    with db.transaction(engine) as session:
        assert code not in str(vars(session.scalars(select(OauthCode)).one()))
    assert log_in(api, code)[0] == 200
    assert refusal(api, code) == REFUSED


def test_a_verified_code_that_waits_too_long_is_none(api, engine, provider, registered, jo):
    code = provider.code()
    api("verifyOAuthCodeAndGetUser", provider="corp", secretcode=code)
    with db.transaction(engine) as session:
        session.execute(update(OauthCode).values(expires=OauthCode.expires - 301))
    assert refusal(api, code) == REFUSED
    api("verifyOAuthCodeAndGetUser", provider="corp", secretcode=provider.code())
    with db.transaction(engine) as session:
        assert len(session.scalars(select(OauthCode)).all()) == 1


def test_a_code_is_that_of_one_provider(api, provider, registered, jo):
    register(api, provider, provider="other")
    code = provider.code()
    api("verifyOAuthCodeAndGetUser", provider="other", secretcode=code)
    assert refusal(api, code) == REFUSED


def test_of_many_logins_with_one_verified_code_one_is_let_in(api, provider, registered, jo):
    code = provider.code()
    api("verifyOAuthCodeAndGetUser", provider="corp", secretcode=code)
    found = []
    threads = [threading.Thread(target=lambda: found.append(log_in(api, code)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 531, 531, 531]


def test_a_reused_code_is_refused(api, provider, registered, jo):
    code = provider.code()
    assert log_in(api, code)[0] == 200
    assert refusal(api, code) == REFUSED


@pytest.mark.parametrize("missing", ["provider", "email", "secretcode"])
def test_what_is_missing_is_told(api, provider, registered, missing):
    status, body = log_in(api, "c", **{missing: ""})
    assert (status, body["errortext"]) == (
        431,
        f"Unable to execute API command oauthlogin due to missing parameter {missing}",
    )


def test_logins_by_get_are_405(api, registered):
    answer = api.app.test_client().get("/client/api?command=oauthlogin&provider=corp&email=a@b&secretcode=c")
    assert answer.status_code == 405


def test_the_domain_is_that_of_the_user(api, factory, provider, registered):
    deep = factory.domain("b", factory.domain("a"))
    factory.change(factory.user("jo", factory.account("jo", deep)), email="jo@example.org")
    for domain in ({"domain": "a/b"}, {"domain": "/a/b/"}, {"domainId": deep.id}):
        assert log_in(api, provider.code(), **domain)[0] == 200
    assert refusal(api, provider.code()) == REFUSED


def test_unknown_and_ambiguous_users_are_refused_as_all_others(api, factory, provider, registered):
    assert refusal(api, provider.code()) == REFUSED
    for name in ("one", "two"):
        factory.change(factory.user(name), email="jo@example.org")
    assert refusal(api, provider.code()) == REFUSED
    factory.change(factory.first(User, username="two"), state="disabled")
    assert log_in(api, provider.code())[1]["username"] == "one"


def test_the_address_is_the_providers_not_the_callers(api, provider, registered, jo):
    assert refusal(api, provider.code(), email="admin@localhost") == REFUSED


def test_an_unknown_provider_is_refused_alike(api, provider, registered, jo):
    assert refusal(api, provider.code(), provider="none") == REFUSED.replace("corp", "none")
    api("updateOauthProvider", id=registered["id"], enabled="false")
    assert refusal(api, provider.code()) == REFUSED


# --- what proves nothing ----------------------------------------------------------------------------------------------

OTHER = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": "another", "azp": CLIENT},
        {"aud": None},
        {"aud": []},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"exp": int(time.time()) - 120},
        {"exp": None},
        {"exp": "never"},
        {"iat": int(time.time()) + 86_400},
        {"iat": None},
        {"nbf": int(time.time()) + 86_400},
        {"sub": None},
        {"sub": 7},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"email": ["jo@example.org"]},
        {"email": "J\N{LATIN SMALL LETTER O WITH DIAERESIS}@example.org"},
        {"email": "jo"},
        {"email": ""},
    ],
)
def test_claims_that_prove_nothing(api, provider, registered, jo, causes, claims):
    provider.claims = claims
    assert refusal(api, provider.code()) == REFUSED
    (name, *_), cause = claims, causes[-1]["cause"]
    assert ("e-mail address" in cause) if "email" in name else (cause.startswith("the ID token is refused"))


def test_more_audiences_need_the_right_party(api, provider, registered, jo):
    provider.claims = {"aud": [CLIENT, "another"], "azp": CLIENT}
    assert log_in(api, provider.code())[0] == 200


def _part(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _none(header, claims):
    return ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)) + "."


def _by_hmac(secret):
    """Made by hand, since libraries refuse such keys."""

    def sign(header, claims):
        said = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "one"}, claims))
        return f"{said}.{_part(hmac.digest(secret, said.encode(), 'sha256'))}"

    return sign


def _cut(header, claims):
    return jwt.encode(header, claims, OTHER).rpartition(".")[0] + "."


FORGED = {
    "signed by none": lambda _: _none,
    "signed by HS256": lambda _: _by_hmac(SECRET.encode()),
    "signed by HS256 ": lambda provider: _by_hmac(provider.key.as_pem(private=False)),
    "bad_signature": lambda _: lambda header, claims: jwt.encode(header, claims, OTHER),
    "bad_signature ": lambda _: _cut,
    "0 keys fit": lambda _: lambda header, claims: jwt.encode({**header, "kid": "two"}, claims, OTHER),
    "refused": lambda _: lambda *_: "hello",
    "refused: invalid_payload": lambda provider: lambda header, _: jws.serialize_compact(header, b"[]", provider.key),
}
"""Ways to make a token, by the cause for which it is refused."""


@pytest.mark.parametrize("cause", FORGED)
def test_forged_tokens(api, provider, registered, jo, causes, cause):
    provider.sign = FORGED[cause](provider)
    assert refusal(api, provider.code()) == REFUSED
    assert cause.strip() in causes[-1]["cause"]


def test_a_secret_among_the_public_keys_does_not_sign(api, provider, registered, jo):
    secret = OctKey.generate_key(256, {"kid": "oct"})
    provider.keys = [provider.key.as_dict(private=False), secret.as_dict(private=True)]
    provider.sign = lambda _, claims: jwt.encode({"alg": "HS256", "kid": "oct"}, claims, secret, algorithms=["HS256"])
    assert refusal(api, provider.code()) == REFUSED


@pytest.mark.parametrize(
    "keys",
    [
        lambda _: [],
        lambda key: [{**key, "use": "enc"}],
        lambda key: [{**key, "alg": "RS512"}],
        lambda key: [key, key],
        lambda _: ["x", {"kty": "RSA", "kid": "one"}, {"kty": "new", "kid": "one"}],
    ],
)
def test_keys_that_do_not_fit(api, provider, registered, jo, keys):
    provider.keys = keys(provider.key.as_dict(private=False))
    assert refusal(api, provider.code()) == REFUSED


def test_keys_change_and_other_kinds_sign_too(api, provider, registered, jo):
    assert log_in(api, provider.code())[0] == 200
    new = ECKey.generate_key("P-256", {"kid": "new"})
    provider.keys = [provider.key.as_dict(private=False), new.as_dict(private=False)]
    provider.sign = lambda _, claims: jwt.encode({"alg": "ES256", "kid": "new"}, claims, new)
    assert log_in(api, provider.code())[0] == 200
    provider.sign = lambda _, claims: jwt.encode({"alg": "ES256"}, claims, new)
    assert log_in(api, provider.code())[0] == 200


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS512", OTHER),
        ("PS256", OTHER),
        ("ES384", ECKey.generate_key("P-384")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
    ],
)
def test_algorithms(api, provider, registered, jo, algorithm, key):
    provider.keys = [{**key.as_dict(private=False), "kid": "k"}]
    provider.sign = lambda _, claims: jwt.encode({"alg": algorithm, "kid": "k"}, claims, key, algorithms=[algorithm])
    assert log_in(api, provider.code())[0] == 200


def test_the_description_is_asked_for_once(api, provider, registered, jo):
    for _ in range(3):
        assert log_in(api, provider.code())[0] == 200
    assert provider.asked == ["configuration"]


def test_an_address_may_be_told_apart_from_the_token(api, provider, registered, jo):
    provider.claims = {"email": None, "email_verified": None}
    provider.user_info = {"sub": "u-1", "email": "jo@example.org", "email_verified": True}
    assert log_in(api, provider.code())[0] == 200
    assert "Bearer" in provider.asked
    for lie in ({"sub": "u-2"}, {"email_verified": False}, {"email": None}):
        provider.user_info = {"sub": "u-1", "email": "jo@example.org", "email_verified": True, **lie}
        assert refusal(api, provider.code()) == REFUSED


def test_a_wrong_secret_is_refused(api, provider, registered, jo):
    api("updateOauthProvider", id=registered["id"], secretkey="wrong")
    assert refusal(api, provider.code()) == REFUSED


@pytest.mark.parametrize("about", [{"issuer": "https://another.example.org"}, {"jwks_uri": None}, {"jwks_uri": 7},
                                   {"token_endpoint": None}, {"token_endpoint": "http://127.0.0.1/token"}])  # fmt: skip
def test_a_description_that_is_none(api, provider, registered, jo, about):
    code = provider.code()
    provider.about = about
    status, body = log_in(api, code)
    assert (status, body["errortext"]) == (534, "The provider corp cannot be asked at the moment")


def test_private_addresses_and_strange_certificates_are_not_asked(api, provider, registered, jo, monkeypatch):
    code = provider.code()
    monkeypatch.delenv("SSL_CERT_FILE")
    assert log_in(api, code)[0] == 534
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    assert log_in(api, code)[0] == 534
    api("updateConfiguration", name="oauth2.allowed.networks", value="10.0.0.0/8")
    assert log_in(api, code)[0] == 534
    assert provider.asked == []


# --- login by a browser -----------------------------------------------------------------------------------------------


def test_a_browser_is_sent_and_let_in(api, provider, registered, jo):
    browser, brought = browse(api, provider)
    (given,) = provider.codes.values()
    assert given.code_challenge_method == "S256"
    assert given.nonce
    answer = come_back(browser, brought)
    assert (answer.status_code, answer.get_json()["oauthloginresponse"]["userid"]) == (200, jo.id)
    asked = {
        "command": "listUsers",
        "response": "json",
        "sessionkey": answer.get_json()["oauthloginresponse"]["sessionkey"],
    }
    assert browser.get("/client/api", query_string=asked).status_code == 200
    assert browser.get_cookie("pileus_oauth", path="/client/oauth") is None


def test_a_portal_gets_the_session_key_behind_the_hash(api, provider, registered, jo):
    api("updateConfiguration", name="oauth2.login.page", value="/portal/")
    browser, brought = browse(api, provider)
    answer = come_back(browser, brought)
    page, _, key = answer.headers["Location"].partition("#sessionkey=")
    assert (answer.status_code, page) == (303, "/portal/")
    asked = {"command": "listUsers", "response": "json", "sessionkey": key}
    assert browser.get("/client/api", query_string=asked).status_code == 200


@pytest.mark.parametrize("page", ["//evil.example.org", "https://evil.example.org", "/\\evil.example.org", "x"])
def test_the_portal_is_a_page_of_this_server(api, page):
    with pytest.raises(Refused):
        api("updateConfiguration", name="oauth2.login.page", value=page)


def test_the_domain_goes_with_the_browser(api, factory, provider, registered):
    factory.change(factory.user("jo", factory.account("jo", factory.domain("a"))), email="jo@example.org")
    assert come_back(*browse(api, provider)).status_code == 401
    assert come_back(*browse(api, provider, domain="/a")).status_code == 200


def refused_page(answer):
    assert (answer.status_code, answer.mimetype) == (401, "text/plain")
    assert not [c for c in answer.headers.getlist("Set-Cookie") if c.startswith(("JSESSIONID", "sessionkey"))]
    return answer.text == REFUSED + "\n"


def test_a_browser_that_began_nothing(api, provider, registered, jo):
    _, brought = browse(api, provider)
    assert refused_page(come_back(api.app.test_client(), brought))


@pytest.mark.parametrize("change", [{"state": "other"}, {"state": ""}, {"code": ""}, {"code": "x"},
                                    {"error": "access_denied"}, {"iss": "https://evil.example.org"}])  # fmt: skip
def test_an_answer_that_is_not_the_browsers(api, provider, registered, jo, change):
    browser, brought = browse(api, provider)
    assert refused_page(come_back(browser, brought | change))


def test_another_browsers_code_does_not_do(api, provider, registered, jo, causes):
    """Its state is replaced by the own one, so that only PKCE and the nonce are left to tell."""
    _, stolen = browse(api, provider)
    browser, own = browse(api, provider)
    assert refused_page(come_back(browser, own | {"code": stolen["code"]}))
    assert causes[-1]["cause"] == "the provider refuses the code: invalid_grant"


def test_a_token_of_another_login_does_not_do(api, provider, registered, jo, causes):
    for nonce in ("another", None):
        provider.claims = {"nonce": nonce}
        assert refused_page(come_back(*browse(api, provider)))
        assert "nonce" in causes[-1]["cause"]


def test_a_login_ends_once(api, provider, registered, jo):
    browser, brought = browse(api, provider)
    cookie = browser.get_cookie("pileus_oauth", path="/client/oauth").value
    assert come_back(browser, brought).status_code == 200
    browser.set_cookie("pileus_oauth", cookie, path="/client/oauth")
    assert refused_page(come_back(browser, brought))


def test_a_login_takes_ten_minutes_at_most(api, provider, registered, jo, monkeypatch):
    browser, brought = browse(api, provider)
    later = time.time() + 601
    monkeypatch.setattr("manager.oauth_site.time.time", lambda: later)
    assert refused_page(come_back(browser, brought))


def test_an_issuer_that_names_itself_must(api, provider, registered, jo):
    provider.about = {"authorization_response_iss_parameter_supported": True}
    assert refused_page(come_back(*browse(api, provider)))
    browser, brought = browse(api, provider)
    assert come_back(browser, brought | {"iss": provider.url}).status_code == 200


def test_the_cookie_is_sealed(api, provider, registered, jo):
    browser, brought = browse(api, provider)
    cookie = browser.get_cookie("pileus_oauth", path="/client/oauth")
    assert cookie.http_only
    assert cookie.same_site == "Lax"
    assert brought["state"] not in cookie.value
    for value in ("", "x", cookie.value[:-8] + "AAAAAAA="):
        browser.set_cookie("pileus_oauth", value, path="/client/oauth")
        assert refused_page(come_back(browser, brought))


def test_a_provider_of_pages_begins_nothing_here(api, provider, registered):
    api("updateOauthProvider", id=registered["id"], redirecturi="https://ui.example.org/?verifyOauth")
    answer = api.app.test_client().get("/client/oauth/corp/start")
    assert (answer.status_code, answer.text) == (503, "The provider corp cannot be asked at the moment\n")


def test_start_is_refused_for_what_is_no_provider(api, provider, registered, engine):
    with db.transaction(engine) as session:
        session.execute(update(OauthProvider).values(is_enabled=False))
    assert refused_page(api.app.test_client().get("/client/oauth/corp/start"))
