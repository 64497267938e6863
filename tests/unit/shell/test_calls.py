"""One command against the real management application: what is sent, what comes back, how it ends."""

import json
import subprocess
import urllib.request

import pytest

from tests.unit.api import site
from tests.unit.shell.conftest import use


@pytest.fixture
def zones(api):
    return {name: site.zone(api, name) for name in ("alpha", "beta", "gamma one")}


def test_zones_just_work_with_the_environment(as_admin, zones, pileus):
    done = pileus("list", "zones")
    assert (done.code, done.err) == (0, "")
    answer = json.loads(done.out)
    assert (answer["count"], {zone["name"] for zone in answer["zone"]}) == (3, set(zones))


@pytest.mark.parametrize("words", [["listZones"], ["listzones"], ["list", "Zones"], ["api", "listZones"]])
def test_ways_to_name_a_command(as_admin, zones, pileus, words):
    assert pileus(*words, "name=beta", "-o", "id").out == f"{zones['beta']}\n"


def test_initials_name_a_noun(as_admin, pileus):
    done = pileus("list", "vms")
    assert (done.code, done.out) == (0, "{}\n")


def test_names_stand_for_ids(as_admin, zones, pileus, api):
    given = [f"{name}={value}" for name, value in site.POD_RANGE.items()]
    done = pileus("create", "pod", "zone=gamma one", "name=p", *given, "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert api("listPods")["pod"][0]["zoneid"] == zones["gamma one"]
    assert pileus("update", "zone", "id=ALPHA", "name=delta").code == 0
    assert {zone["name"] for zone in api("listZones")["zone"]} == {"delta", "beta", "gamma one"}


def test_unknown_name_is_refused_with_those_meant(as_admin, zones, pileus):
    done = pileus("delete", "zone", "id=bta")
    assert (done.code, done.out) == (2, "")
    assert done.err == "pileus: Nothing is called bta for id.\n        Did you mean beta?\n"


def test_several_of_one_name_are_listed(as_admin, pileus, api):
    person = {
        "email": "t@example.org",
        "firstname": "T",
        "lastname": "W",
        "password": "Long-enough-1",
        "accounttype": 0,
    }
    for name in ("west", "east"):
        domain = api("createDomain", name=name)["domain"]["id"]
        api("createAccount", username="twin", domainid=domain, **person)
    done = pileus("update", "user", "id=twin", "lastname=x")
    assert done.code == 2
    assert done.err.startswith("pileus: Several are called twin for id; give the id:\n")
    ids = [user["id"] for user in api("listUsers", listall=True)["user"] if user["username"] == "twin"]
    assert all(one in done.err for one in ids)
    assert ("west" in done.err, "east" in done.err) == (True, True)


def test_refusals_are_told_with_their_code(as_admin, zones, pileus):
    done = pileus("create", "zone", "name=alpha", "networktype=Advanced", "dns1=192.0.2.1", "internaldns1=192.0.2.1")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("pileus: ")
    assert "(431)" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lst", "zones"], "Did you mean list zones"),
        (["list", "zonse"], "Did you mean list zones"),
        (["list"], "What shall list work on?"),
        (["list", "zones", "nam=x"], "Did you mean name?"),
        (["create", "pod"], "zoneid=  the zone"),
        (["list", "zones", "extra"], "The word extra is no argument"),
        (["list", "zones", "name=a", "name=b"], "given twice"),
        (["list", "zones", "--timeout", "soon"], "soon is none"),
        (["list", "zones", "-o", "tabel"], "Formats: table, json"),
        (["hlp"], "Did you mean help?"),
    ],
)
def test_wrong_use_is_explained(as_admin, pileus, words, told):
    done = pileus(*words)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_wrong_keys_and_unreachable_servers_have_codes_of_their_own(as_admin, admin, pileus, monkeypatch):
    assert pileus("list", "zones").code == 0
    monkeypatch.setenv("CLOUDSTACK_SECRET", "wrong")
    done = pileus("list", "zones")
    assert done.code == 3
    assert "profile environment (CLOUDSTACK_* variables)" in done.err
    use(monkeypatch, "http://127.0.0.1:1/client/api")
    done = pileus("list", "zones")
    assert done.code == 6
    assert "cannot be reached: Connection refused" in done.err
    use(monkeypatch, "ftp://x")
    assert pileus("list", "zones").code == 2


def test_without_a_cloud_the_next_step_is_told(pileus):
    done = pileus("list", "zones")
    assert (done.code, done.err) == (2, "pileus: No cloud is known yet.\n        Log in with: pileus login URL USER\n")


def test_maps_lists_and_files(as_admin, pileus, api, tmp_path, zones):
    ids = ",".join(zones[name] for name in ("alpha", "beta"))
    for form in (["tags.a=1", "tags.b=x y"], ['tags={"a": "1", "b": "x y"}'], ["tags[0].key=a", "tags[0].value=1"]):
        done = pileus("create", "tags", "resourcetype=Zone", f"resourceids={ids}", *form, "--dry-run")
        assert done.code == 0
        assert "tags[0].key=a\ntags[0].value=1\n" in done.out
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEfPn0lJ3Ew2b2rwWIDZpXBL0sWrUCP1vVZnkSyNIgHT me\n")
    assert pileus("register", "sshkeypair", "name=k", f"publickey@={key}").code == 0
    assert api("listSSHKeyPairs")["sshkeypair"][0]["name"] == "k"
    done = pileus("register", "sshkeypair", "name=k", "publickey@=/nonexistent")
    assert (done.code, "/nonexistent cannot be read for publickey" in done.err) == (2, True)


def test_dry_run_sends_nothing_and_curl_sends_the_same(as_admin, zones, pileus, api):
    done = pileus("delete", "zone", "id=beta", "--dry-run")
    assert done.out == f"POST {as_admin}\ncommand=deleteZone\nid={zones['beta']}\n"
    done = pileus("delete", "zone", "id=beta", "--dry-run", "--curl")
    assert len(api("listZones")["zone"]) == 3
    assert "secret" not in done.out.lower()
    sent = subprocess.run(["sh", "-c", done.out], check=True, capture_output=True, text=True)
    assert json.loads(sent.stdout) == {"deletezoneresponse": {"success": True}}
    assert len(api("listZones")["zone"]) == 2


def test_dry_run_hides_secrets(as_admin, pileus):
    person = ["username=jo", "password=Very-secret-1", "firstname=J", "lastname=O", "email=j@example.org"]
    text = pileus("create", "account", "accounttype=0", *person, "--dry-run").out
    assert ("password=***" in text, "Very-secret" in text) == (True, False)


def test_curl_of_a_reading_call_is_an_address(as_admin, zones, pileus):
    url = pileus("list", "zones", "name=gamma one", "--curl").out.split("'")[3]
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - it is the address of our own server
        assert json.load(answer)["listzonesresponse"]["zone"][0]["id"] == zones["gamma one"]


def test_filter_columns_and_conditions(as_admin, zones, pileus):
    assert pileus("list", "zones", "filter=name", "-o", "csv").out == "name\nalpha\nbeta\ngamma one\n"
    done = pileus("list", "zones", "-c", "name,nosuch", "-o", "csv", "where", "name~^[ab]")
    assert done.out == "name,nosuch\nalpha,\nbeta,\n"
    assert pileus("list", "zones", "--query", "zone[].name | [0]", "-o", "text").out == "alpha\n"


def test_scripts_stop_at_the_first_failure(as_admin, zones, pileus, tmp_path, api):
    script = tmp_path / "site.pileus"
    script.write_text(
        "# makes a pod\n"
        "list zones name=beta -o id\n"
        "create pod zoneid=$last.id name=p1 gateway=192.0.2.1 netmask=255.255.255.0 \\\n"
        "  startip=192.0.2.10 endip=192.0.2.20 -o id\n"
        "list pods -o json | grep -c p1\n"
        "delete zone id=$last.0.nothing\n"
        "list zones -o id\n"
    )
    done = pileus("-f", str(script))
    assert done.code == 2
    assert done.out.splitlines()[0] == zones["beta"]
    assert len(done.out.splitlines()) == 2
    assert "line 6 failed" in done.err
    assert api("listPods")["pod"][0]["zoneid"] == zones["beta"]
    assert len(pileus("-f", str(script), "--keep-going", "-q").out.splitlines()) == 4


def test_pipes_go_to_sh(as_admin, zones, pileus, tmp_path):
    script = tmp_path / "s"
    script.write_text(f"list zones -o csv | grep -c beta > {tmp_path}/count\nlist zones -o id > {tmp_path}/ids\n")
    assert pileus("-f", str(script)).code == 0
    assert (tmp_path / "count").read_text() == "1\n"
    assert sorted((tmp_path / "ids").read_text().split()) == sorted(zones.values())


def test_all_pages_are_read(as_admin, pileus, monkeypatch, api):
    monkeypatch.setattr("ui.shell.shell.PAGE", 2)
    for number in range(5):
        api("createSSHKeyPair", name=f"k{number}")
    done = pileus("list", "sshkeypairs", "--all", "-c", "name", "-o", "csv", "--no-header")
    assert done.out.split() == [f"k{number}" for number in range(5)]
    assert pileus("list", "sshkeypairs", "--all", "page=1", "pagesize=2").code == 2


def test_commands_are_kept_for_their_owner_alone(as_admin, pileus, home):
    pileus("list", "zones")
    (kept,) = (home / ".cache/pileus").glob("*.apis")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_home_that_cannot_be_written_to_is_no_hindrance(as_admin, zones, pileus, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    assert pileus("list", "zones", "name=beta", "-o", "id").out == f"{zones['beta']}\n"


def test_help_of_every_command(as_admin, pileus):
    assert "deploy virtualmachine" in pileus("help", "deploy").out
    text = pileus("help", "deploy", "virtualmachine").out
    assert "serviceofferingid=" in text
    assert "id or name, from list zones" in text
    assert pileus("deploy", "virtualmachine", "-h").out == text
    names = [one["name"] for one in json.loads(pileus("api", "listApis").out)["api"]]
    assert all(pileus("help", name).code == 0 for name in names)
    assert pileus("help", "watch").out.startswith("watch [SECONDS] COMMAND")
    assert "Verbs of this cloud" in pileus("help").out
