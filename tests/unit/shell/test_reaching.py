"""The way to a cloud: certificates of a private CA, proxies, second factors, sessions that are kept."""

import base64
import http.client
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.unit.shell.conftest import use
from tests.unit.shell.foreign import foreign_cloud
from ui.shell import login
from ui.shell.client import Client
from ui.shell.connection import way_of
from ui.shell.errors import AuthError
from ui.shell.profiles import Config, Profile

ZONES = {"count": 1, "zone": [{"id": "z1", "name": "one"}]}


@pytest.fixture
def authority(tmp_path):
    """A CA, and a certificate of it for localhost."""
    for one, more in (
        ("ca", ["-x509", "-subj", "/CN=Private CA", "-addext", "basicConstraints=critical,CA:true"]),
        ("server", ["-subj", "/CN=localhost"]),
    ):
        made = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{one}.key", "-out", f"{one}.pem", *more]
        subprocess.run(made, check=True, cwd=tmp_path, capture_output=True)
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost\n")
    signed = ["openssl", "x509", "-req", "-in", "server.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    more = ["-out", "signed.pem", "-extfile", "names", "-days", "2"]
    subprocess.run([*signed, *more], check=True, cwd=tmp_path, capture_output=True)
    return tmp_path


@pytest.fixture
def secured(authority, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "signed.pem", authority / "server.key")
    with foreign_cloud(context) as cloud:
        cloud.replies["listZones"] = ZONES
        use(monkeypatch, cloud.url)
        yield cloud


class Proxy:
    """A proxy that wants a password; `passed` are the lines that it was asked."""

    def __init__(self):
        self.passed = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _may(self):
                given = self.headers.get("Proxy-Authorization", "")
                proxy.passed.append(self.requestline)
                if given != "Basic " + base64.b64encode(b"me:a b").decode():
                    self.send_error(407)
                    return False
                return True

            def do_GET(self):
                if not self._may():
                    return
                url = urlsplit(self.path)
                onward = http.client.HTTPConnection(url.hostname, url.port)
                onward.request("GET", f"{url.path}?{url.query}")
                answer = onward.getresponse()
                body = answer.read()
                onward.close()
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self):
                if self._may():
                    self.send_error(403, "Not through here")

            def log_message(self, *_):
                """Nothing on the standard error of the tests."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://me:a%20b@127.0.0.1:{self.server.server_port}"


@pytest.fixture
def proxy():
    made = Proxy()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def test_certificate_of_an_unknown_ca_is_refused_with_the_way_out(secured, pileus):
    done = pileus("list", "zones")
    assert (done.code, done.out) == (6, "")
    assert f"The certificate of {secured.url} is not trusted: unable to get local issuer certificate." in done.err
    assert "--verifycert ca.pem" in done.err
    assert not secured.asked


@pytest.mark.parametrize("verify", ["--verifycert={}/ca.pem", "--verifycert=false"])
def test_ca_can_be_named_for_one_command(secured, authority, pileus, verify):
    assert pileus("list", "zones", "-o", "id", verify.format(authority)).out == "z1\n"


def test_ca_can_be_named_in_the_environment_and_the_profile(secured, authority, pileus, monkeypatch):
    Config().save(Profile("mine", secured.url, "key", "secret"))
    monkeypatch.setenv("CLOUDSTACK_VERIFY", f"{authority}/ca.pem")
    assert pileus("list", "zones", "-o", "id").code == 0
    monkeypatch.delenv("CLOUDSTACK_ENDPOINT")
    assert pileus("list", "zones", "-o", "id").code == 6
    assert pileus("set", "verifycert", "/nonexistent.pem").code == 2
    assert pileus("set", "verifycert", f"{authority}/ca.pem").code == 0
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert f"--cacert {authority}/ca.pem" in pileus("list", "zones", "--curl").out
    assert pileus("set", "verifycert", "false").code == 0
    assert pileus("list", "zones", "-o", "id").out == "z1\n"


def test_file_that_is_no_certificate_is_told(secured, pileus, tmp_path):
    (tmp_path / "none.pem").write_text("nothing\n")
    done = pileus("list", "zones", "--verifycert", f"{tmp_path}/none.pem")
    assert (done.code, "it holds no certificate" in done.err) == (2, True)
    done = pileus("list", "zones", "--verifycert", "/nonexistent.pem")
    assert (done.code, "No such file" in done.err) == (2, True)


def test_certificate_for_another_host_is_refused(secured, authority, pileus):
    url = secured.url.replace("localhost", "127.0.0.1")
    done = pileus("list", "zones", "-u", url, "--verifycert", f"{authority}/ca.pem")
    assert (done.code, "IP address mismatch" in done.err) == (6, True)


def test_proxy_of_the_environment_is_used_with_its_password(foreign, proxy, pileus, monkeypatch):
    foreign.replies["listZones"] = ZONES
    monkeypatch.setenv("http_proxy", proxy.url)
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert all(line.startswith(f"GET {foreign.url}?") for line in proxy.passed)
    assert len(proxy.passed) == 2
    monkeypatch.setenv("no_proxy", "other.example, 127.0.0.1")
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert len(proxy.passed) == 2


def test_proxy_of_the_profile_counts_before_the_environments(foreign, proxy, pileus, monkeypatch):
    foreign.replies["listZones"] = ZONES
    Config().save(Profile("mine", foreign.url, "key", "secret"))
    monkeypatch.delenv("CLOUDSTACK_ENDPOINT")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert pileus("set", "proxy", proxy.url).code == 0
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert len(proxy.passed) == 2
    assert pileus("set", "proxy", "none").code == 0
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert len(proxy.passed) == 2
    assert pileus("set", "proxy", "socks5://127.0.0.1:1").code == 0
    assert pileus("list", "zones").code == 2


def test_https_goes_through_a_tunnel_and_its_refusal_is_told(secured, proxy, pileus, monkeypatch):
    monkeypatch.setenv("https_proxy", proxy.url)
    done = pileus("list", "zones")
    assert done.code == 6
    assert "Not through here" in done.err
    assert f"through the proxy http://127.0.0.1:{proxy.server.server_port}." in done.err
    assert proxy.passed == [f"CONNECT {urlsplit(secured.url).netloc} HTTP/1.0"]


@pytest.mark.parametrize(
    ("passed", "is_near"),
    [
        ("cloud.example", True),
        (".example", True),
        ("*.example", True),
        ("loud.example", False),
        ("*", True),
        ("", False),
    ],
)
def test_hosts_that_no_proxy_is_for(monkeypatch, passed, is_near):
    monkeypatch.setenv("https_proxy", "http://proxy.example:8080")
    monkeypatch.setenv("no_proxy", passed)
    assert (way_of(Profile("p", "https://cloud.example/client/api")).proxy is None) == is_near


@pytest.fixture
def two_factors(foreign, monkeypatch, home):
    """A cloud that wants a code after the password, and a profile with a password."""
    sessions = set()

    def log_in(_given):
        sessions.add(f"k{len(sessions)}")
        return {
            "sessionkey": f"k{len(sessions) - 1}",
            "is2faenabled": "true",
            "is2faverified": "false",
            "providerfor2fa": "totp",
        }

    verified = set()

    def verify(given):
        if given["codefor2fa"] != "123456":
            return 531, {"errorcode": 531, "errortext": "Wrong code."}
        verified.add(given["sessionkey"])
        return {"success": True}

    def zones(given):
        return ZONES if given.get("sessionkey") in verified else (401, {"errorcode": 401, "errortext": "Log in."})

    foreign.replies |= {"login": log_in, "validateUserTwoFactorAuthenticationCode": verify, "listZones": zones}
    foreign.verified = verified
    monkeypatch.delenv("CLOUDSTACK_ENDPOINT")
    Config().save(Profile("pw", foreign.url, username="jo", password="pass", domain="/a"))
    return foreign


def test_code_is_asked_for_once_and_the_session_kept(two_factors, pileus, monkeypatch, home):
    asked = []
    monkeypatch.setattr(login, "read_secret", lambda prompt: asked.append(prompt) or "123456")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert asked == ["Code of the second factor of jo: "]
    assert two_factors.sent("login") == [{"username": "jo", "password": "pass", "domain": "/a"}]
    assert two_factors.asked[1][0] == "POST"
    (kept,) = (home / ".cache/pileus").glob("*.session")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert len(two_factors.sent("login")) == 1
    two_factors.verified.clear()
    assert pileus("list", "zones", "-o", "id").out == "z1\n"
    assert (len(two_factors.sent("login")), len(asked)) == (2, 2)


def test_wrong_code_ends_the_command_and_no_session_is_kept(two_factors, pileus, monkeypatch, home):
    monkeypatch.setattr(login, "read_secret", lambda _: "000000")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    done = pileus("list", "zones")
    assert (done.code, "Wrong code." in done.err) == (1, True)
    assert not list((home / ".cache/pileus").glob("*.session"))


def test_nobody_is_asked_for_a_code_without_a_terminal(two_factors):
    with Client(Config().chosen()) as client, pytest.raises(AuthError, match="second factor"):
        client.call("listZones", {})
    assert not two_factors.sent("validateUserTwoFactorAuthenticationCode")
