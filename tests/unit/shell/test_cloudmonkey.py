"""What users of CloudMonkey have in their files, scripts and fingers."""

import json

import pytest

from tests.unit.shell.conftest import use
from ui.shell import history
from ui.shell.profiles import Config

CONFIG = """prompt       = 🐱
asyncblock   = false
timeout      = 600
output       = {output}
verifycert   = false
profile      = prod
autocomplete = false

[prod]
url       = {url}
username  = admin
password  = password
domain    = /
apikey    = key
secretkey = secret
"""


@pytest.fixture
def theirs(foreign, home, monkeypatch):
    """A cloud that only CloudMonkey's file tells of."""
    monkeypatch.delenv("CLOUDSTACK_ENDPOINT")
    (home / ".cmk").mkdir()
    (home / ".cmk/config").write_text(CONFIG.format(output="csv", url=foreign.url))
    foreign.replies |= {
        "listZones": {"count": 1, "zone": [{"id": "z1", "name": "one", "state": "x"}]},
        "startVirtualMachine": {"jobid": "7"},
    }
    return foreign


def test_settings_of_its_file_are_the_start(theirs, pileus, home):
    assert pileus("list", "zones", "filter=name,id").out == "name,id\none,z1\n"
    assert json.loads(pileus("start", "virtualmachine", "id=1", "-o", "json").out) == {"jobid": "7"}
    assert [Config().setting(name) for name in ("block", "timeout", "complete")] == ["false", "600", "false"]
    assert "🐱" not in Config().setting("prompt")
    (home / ".cmk/config").write_text(CONFIG.format(output="json", url=theirs.url))
    assert Config().setting("output") == "", "json is what it writes for everybody"


def test_its_names_of_settings_are_taken(theirs, pileus):
    for line in (("asyncblock", "true"), ("display", "text"), ("autocomplete", "true")):
        assert pileus("set", *line).code == 0
    assert [Config().setting(name) for name in ("block", "output", "complete")] == ["true", "text", "true"]
    assert pileus("set", "output", "default").code == 0
    assert Config().setting("output") in ("", "csv")


def test_profile_is_made_by_set(foreign, pileus, monkeypatch):
    foreign.replies["listZones"] = lambda given: {"count": 1, "zone": [{"id": given["apiKey"]}]}
    refused = pileus("set", "url", foreign.url)
    assert (refused.code, "CLOUDSTACK_* variables" in refused.err) == (2, True)
    monkeypatch.delenv("CLOUDSTACK_ENDPOINT")
    for line in (("url", foreign.url), ("apikey", "k"), ("secretkey", "s"), ("domain", "/a")):
        assert pileus("set", *line).code == 0
    assert pileus("list", "zones", "-o", "id").out == "k\n"
    assert pileus("set", "apikey", "other", "-p", "second").code == 0
    assert list(Config().profiles()) == ["default", "second"]


def test_profile_of_its_file_is_changed_in_ours(theirs, pileus, home):
    before = (home / ".cmk/config").read_text()
    assert pileus("set", "verifycert", "true").code == 0
    found = Config().chosen()
    assert (found.name, found.verify, found.key, found.password) == ("prod", True, "key", "password")
    assert (home / ".cmk/config").read_text() == before
    assert (home / ".config/pileus/config").stat().st_mode & 0o777 == 0o600


def test_its_flags_for_scripts(foreign, pileus, monkeypatch):
    foreign.replies["listZones"] = lambda given: {"count": 1, "zone": [{"id": given["apiKey"]}]}
    monkeypatch.delenv("CLOUDSTACK_ENDPOINT")
    assert pileus("-u", foreign.url, "-k", "mine", "-s", "x", "-o", "id", "list", "zones").out == "mine\n"
    use(monkeypatch, foreign.url)
    assert pileus("list", "zones", "-k", "mine", "-o", "id").out == "mine\n"
    assert pileus("-v").out.startswith("pileus ")


def test_debugging_tells_of_calls_and_no_secret(foreign, pileus):
    foreign.replies |= {"listZones": {}, "createUser": {}}
    assert "GET listZones name=a -> 200, " in pileus("-d", "list", "zones", "name=a").err
    told = pileus("-d", "api", "createUser", "password=hidden").err
    assert ("password=***" in told, "hidden" in told) == (True, False)


def test_debugging_is_for_the_line_that_asks_for_it(foreign, pileus, tmp_path):
    foreign.replies["listZones"] = {}
    (tmp_path / "script").write_text("list zones name=a\nlist zones name=b -d\nlist zones name=c\n")
    told = pileus("-f", f"{tmp_path}/script").err
    assert [f"name={one}" in told for one in "abc"] == [False, True, False]


def test_value_of_a_file_is_named_with_an_at(foreign, pileus, tmp_path):
    foreign.replies["listZones"] = {}
    (tmp_path / "name").write_text("one\n")
    pileus("list", "zones", f"name=@{tmp_path}/name")
    pileus("list", "zones", "name=@nothing")
    assert [given["name"] for given in foreign.sent("listZones")] == ["one", "@nothing"]


@pytest.mark.parametrize(
    "line", ["set password x", "set secretkey x", "list zones -k a -s b", "create user password=x"]
)
def test_secrets_of_any_form_are_not_remembered(line):
    assert history.has_secret(line)
    assert not history.has_secret("set output json")
