"""Profiles: where they come from, which one counts, how they are kept; login."""

import io
import json

import pyotp
import pytest

from manager import db
from manager.models import ApiKey, LoginSession, SecondFactor
from tests.unit.shell.conftest import use
from ui.shell.client import Client
from ui.shell.profiles import Config, Profile


@pytest.fixture
def files(home):
    (home / ".cmk").mkdir()
    (home / ".cmk/config").write_text(
        "prompt = 🐱\nasyncblock = true\nprofile = second\nverifycert = false\n\n"
        "[first]\nurl = http://one/client/api\napikey = k1\nsecretkey = s%1=;#\n\n"
        "[second]\nurl = https://two/client/api\nusername = admin\npassword = pass\ndomain = /a\n"
    )
    (home / ".cloudstack.ini").write_text(
        "[cloudstack]\nendpoint = http://three/client/api\nkey = k3\nsecret = s3\nverify = /ca.pem\n"
    )
    return home


def test_others_files_are_read(files):
    known = Config().profiles()
    assert list(known) == ["first", "second", "cloudstack"]
    assert known["first"][:4] == ("first", "http://one/client/api", "k1", "s%1=;#")
    assert (known["second"].username, known["second"].domain, known["second"].verify) == ("admin", "/a", False)
    assert (known["cloudstack"].key, known["cloudstack"].verify) == ("k3", True)


def test_which_profile_counts(files, monkeypatch, pileus):
    assert Config().chosen().name == "second"
    Config().save(Profile("own", "http://own/client/api", "k", "s"))
    assert Config().chosen().name == "second"
    assert pileus("set", "profile=own").code == 0
    assert Config().chosen().name == "own"
    monkeypatch.setenv("CLOUDSTACK_API_URL", "http://tf/client/api")
    monkeypatch.setenv("CLOUDSTACK_API_KEY", "k")
    monkeypatch.setenv("CLOUDSTACK_SECRET_KEY", "s")
    assert Config().chosen().url == "http://tf/client/api"
    use(monkeypatch, "http://cs/client/api")
    assert Config().chosen().url == "http://cs/client/api"
    assert Config().chosen("first").name == "first"
    done = pileus("list", "zones", "-p", "nosuch")
    assert (done.code, "environment, own, first" in done.err) == (2, True)


def test_own_file_is_private_and_settings_are_checked(home, pileus):
    assert pileus("set", "output", "yaml").code == 0
    assert pileus("set", "timeout=60").code == 0
    assert pileus("set", "output").code == 2
    path = home / ".config/pileus/config"
    assert path.stat().st_mode & 0o777 == 0o600
    for wrong in ("output=xls", "timeout=soon", "colour=red", "profile=nosuch"):
        assert pileus("set", wrong).code == 2
    Config().save(Profile("a", "http://a", "k", "s"))
    assert Config().setting("output") == "yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    rows = json.loads(pileus("set", "-o", "json").out)["setting"]
    assert next(row["value"] for row in rows if row["name"] == "timeout") == "60"
    assert json.loads(pileus("profile", "-o", "json").out)["profile"][0]["used"] is True
    assert pileus("profile", "remove", "a").code == 0
    assert pileus("profile", "remove", "a").code == 2


def test_profile_of_one_line_is_for_that_line(foreign, served, pileus, tmp_path, monkeypatch):
    Config().save(Profile("other", foreign.url, "k", "s"))
    Config().save(Profile("main", foreign.url, "key", "secret"))
    for name in ("ENDPOINT", "KEY", "SECRET"):
        monkeypatch.delenv(f"CLOUDSTACK_{name}")
    foreign.replies["listZones"] = lambda given: {"count": 1, "zone": [{"id": given["apiKey"]}]}
    script = tmp_path / "script"
    script.write_text("list zones -o id\nlist zones -o id -p other\nlist zones -o id\n")
    done = pileus("-f", str(script), "-p", "main")
    assert (done.out, done.err) == ("key\nk\nkey\n", "")


def login(monkeypatch, pileus, password, *words):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return pileus("login", *words)


def test_login_keeps_keys_and_no_password(served, pileus, monkeypatch, home, admin):
    done = login(monkeypatch, pileus, "admin-password", served, "admin")
    assert (done.code, done.err) == (0, "")
    text = (home / ".config/pileus/config").read_text()
    assert admin.key in text
    assert "admin-password" not in text
    assert pileus("list", "users", "-o", "id").out.strip() == admin.user.id


def test_login_makes_keys_where_there_are_none(served, engine, pileus, monkeypatch, admin):
    with db.transaction(engine) as session:
        session.query(ApiKey).delete()
    assert login(monkeypatch, pileus, "admin-password", served, "admin", "-p", "mine").code == 0
    assert Config().chosen().name == "mine"
    assert pileus("list", "zones").code == 0


class Answers(io.StringIO):
    """The standard input of someone with an authenticator; the code comes after the password."""

    def __init__(self, secret):
        super().__init__()
        self.secret, self.lines = secret, 0

    def readline(self, *_):
        self.lines += 1
        return "admin-password\n" if self.lines == 1 else pyotp.TOTP(self.secret()).now() + "\n"


def test_login_asks_for_the_code(served, pileus, monkeypatch, home, api, engine):
    api("updateConfiguration", name="enable.user.2fa", value=True)
    secret = api("setupUserTwoFactorAuthentication")["setup2fa"]["secretcode"]
    api("validateUserTwoFactorAuthenticationCode", codefor2fa=pyotp.TOTP(secret).now())
    monkeypatch.setattr("sys.stdin", Answers(lambda: "A" * 32))
    done = pileus("login", served, "admin")
    assert (done.code, "code provided is invalid" in done.err) == (3, True)
    assert not (home / ".config/pileus/config").exists()
    with db.transaction(engine) as session:
        session.query(SecondFactor).one().last_step = 0
    monkeypatch.setattr("sys.stdin", Answers(lambda: secret))
    assert pileus("login", served, "admin").code == 0
    assert pileus("list", "zones").code == 0


def test_login_sets_up_the_second_factor_that_an_administrator_wants(served, pileus, monkeypatch, api, engine, admin):
    api("updateConfiguration", name="enable.user.2fa", value=True)
    api("updateUser", id=admin.user.id, mandate2fa=True)

    def secret():
        with db.transaction(engine) as session:
            return session.query(SecondFactor).one().secret

    monkeypatch.setattr("sys.stdin", Answers(secret))
    done = pileus("login", served, "admin")
    assert (done.code, f"authenticator: {secret()}" in done.err) == (0, True)


def test_a_profile_with_a_password_alone_is_told_to_log_in_where_a_code_is_wanted(served, pileus, api, admin, home):
    api("updateConfiguration", name="enable.user.2fa", value=True)
    api("updateUser", id=admin.user.id, mandate2fa=True)
    (home / ".cmk").mkdir()
    (home / ".cmk/config").write_text(f"[pw]\nurl = {served}\nusername = admin\npassword = admin-password\n")
    done = pileus("list", "zones")
    assert (done.code, "nobody can be asked for here" in done.err, "pileus login" in done.err) == (3, True, True)


def test_wrong_password_is_told_and_nothing_kept(served, pileus, monkeypatch, home):
    done = login(monkeypatch, pileus, "wrong", served, "admin")
    assert done.code == 3
    assert not (home / ".config/pileus/config").exists()


def test_session_that_ended_is_begun_anew(served, engine):
    profile = Profile("p", served, username="admin", password="admin-password")
    with Client(profile) as client:
        assert client.call("listUsers", {})["count"] == 1
        with db.transaction(engine) as session:
            session.query(LoginSession).delete()
        assert client.call("listUsers", {})["count"] == 1


def test_profile_with_a_password_only_has_a_session(served, pileus, home):
    (home / ".cmk").mkdir()
    (home / ".cmk/config").write_text(f"[pw]\nurl = {served}\nusername = admin\npassword = admin-password\n")
    done = pileus("list", "users", "-o", "csv", "-c", "username")
    assert (done.code, done.out) == (0, "username\nadmin\n")
