"""Every output format, against files that tell how it looks; PILEUS_UPDATE_GOLDEN=1 writes them."""

import json
import os
import xml.etree.ElementTree as ET
from csv import DictReader
from io import StringIO
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.shell.conftest import Terminal
from ui.shell import formats, screen
from ui.shell.errors import UsageError
from ui.shell.grammar import Options, Term
from ui.shell.profiles import CHOICES
from ui.shell.screen import Screen
from ui.shell.show import View

GOLDEN = Path(__file__).parents[2] / "golden/shell"
VMS = {
    "count": 3,
    "virtualmachine": [
        {
            "id": "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a001",
            "name": "web",
            "state": "Running",
            "cpunumber": 2,
            "zonename": "zürich-日本",
            "displayname": 'the "first", and\nmost important of all our machines, with a name that is much too long',
            "nic": [
                {"ipaddress": "10.1.1.2", "isdefault": True, "networkname": "front"},
                {"ipaddress": "10.2.1.2", "isdefault": False, "networkname": "back"},
            ],
            "tags": [],
            "details": {"rootdisksize": "8", "note": "yes"},
        },
        {"id": "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a002", "name": "db", "state": "Error", "cpunumber": 16, "group": "007"},
        {
            "id": "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a003",
            "name": " no ",
            "state": "Stopped",
            "cpunumber": 1,
            "ratio": 0.5,
        },
    ],
}
ONE = {"virtualmachine": VMS["virtualmachine"][0]}
EMPTY: dict[str, object] = {}


def options(**given):
    found = Options()
    found.__dict__.update(given)
    return found


def shown(content, *, terms=(), terminal=False, **given):
    out, err = (Terminal(), Terminal()) if terminal else (StringIO(), StringIO())
    view = View(content, options(**given), terms)
    view.api, view.noun = "listVirtualMachines", "virtualmachines"
    view.show(Screen(out, "never"), Screen(err, "never"))
    return out.getvalue() + (f"--- remarks\n{err.getvalue()}" if err.getvalue() else "")


def holds(name, text):
    path = GOLDEN / name
    if os.environ.get("PILEUS_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", CHOICES["output"])
@pytest.mark.parametrize(("what", "content"), [("list", VMS), ("one", ONE), ("empty", EMPTY)])
def test_formats_in_a_pipe(name, what, content):
    holds(f"{what}.{name}.txt", shown(content, output=name))


@pytest.mark.parametrize("columns", ["40", "80", "140"])
@pytest.mark.parametrize(("what", "content"), [("list", VMS), ("one", ONE), ("empty", EMPTY)])
def test_terminals_of_all_widths(columns, what, content, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    text = shown(content, terminal=True)
    assert all(screen.width_of(line) <= int(columns) for line in text.splitlines())
    holds(f"{what}.terminal-{columns}.txt", text)


def test_table_is_for_terminals_and_json_for_pipes():
    assert shown(VMS) == shown(VMS, output="json")
    assert shown(VMS, terminal=True).splitlines()[0].split()[-1] == "ID"


def test_formats_are_what_they_say():
    assert json.loads(shown(VMS, output="json")) == VMS
    assert yaml.safe_load(shown(VMS, output="yaml")) == VMS
    assert [json.loads(line) for line in shown(VMS, output="jsonl").splitlines()] == VMS["virtualmachine"]
    rows = list(DictReader(StringIO(shown(VMS, output="csv"), newline="")))
    assert [row["name"] for row in rows] == ["web", "db", " no "]
    assert [row["group"] for row in rows] == ["", "007", ""]
    assert json.loads(rows[0]["nic"]) == VMS["virtualmachine"][0]["nic"]
    root = ET.fromstring(shown(VMS, output="xml"))  # noqa: S314 - it is ours
    assert [one.text for one in root.findall("virtualmachine/nic/ipaddress")] == ["10.1.1.2", "10.2.1.2"]


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(trees)
def test_yaml_reads_back_as_it_was(tree):
    assert yaml.safe_load(formats.as_yaml(tree)) == json.loads(json.dumps(tree))


def test_fields_keep_their_order_and_sparse_ones_their_place():
    text = shown(VMS, output="csv", columns="group,name,nic.ipaddress,nic.1.networkname")
    assert text.splitlines() == [
        "group,name,nic.ipaddress,nic.1.networkname",
        ',web,"[""10.1.1.2"", ""10.2.1.2""]",back',
        "007,db,,",
        '," no ",,',
    ]
    assert shown(VMS, output="csv", columns="state,*").startswith("state,id,name,cpunumber")
    assert json.loads(shown(VMS, output="json", columns="state,name"))["virtualmachine"][1] == {
        "state": "Error",
        "name": "db",
    }


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ([("state", "=", "running")], ["web"]),
        ([("state", "!=", "Running")], ["db", " no "]),
        ([("name", "~", "^(web|db)$"), ("cpunumber", ">", "2")], ["db"]),
        ([("cpunumber", ">=", "2")], ["web", "db"]),
        ([("cpunumber", "<", "16"), ("name", "!~", "w")], [" no "]),
        ([("nic.ipaddress", "~", r"^10\.2")], ["web"]),
        ([("nic.0.isdefault", "=", "true")], ["web"]),
        ([("group", "=", "")], ["web", " no "]),
        ([("group", "<=", "7")], ["db"]),
    ],
)
def test_conditions_choose_rows(terms, names):
    text = shown(VMS, terms=[Term(*term) for term in terms], output="json")
    assert [row["name"] for row in json.loads(text)["virtualmachine"]] == names


def test_a_wrong_condition_is_told():
    with pytest.raises(UsageError, match="no regular expression"):
        shown(VMS, terms=[Term("name", "~", "(")])


def test_queries_take_what_they_name():
    assert shown(VMS, query="virtualmachine[].name", output="text") == "web\ndb\n no \n"
    assert json.loads(shown(VMS, query="virtualmachine[?cpunumber > `1`].{n: name}")) == [{"n": "web"}, {"n": "db"}]
    table = shown(VMS, query="virtualmachine[].{n: name, s: state}", output="column")
    assert table.splitlines()[1].split() == ["web", "Running"]
    with pytest.raises(UsageError, match="is wrong"):
        shown(VMS, query="[")


def test_header_can_be_left_out():
    assert shown(VMS, output="column", columns="name", no_header=True) == "web\ndb\n no\n"
    assert shown(VMS, output="csv", columns="state", no_header=True) == "Running\nError\nStopped\n"


def test_answers_cannot_drive_the_terminal():
    evil = {"count": 1, "x": [{"id": "1", "name": "a\x1b[2Jb\rc"}]}
    assert "\x1b" not in shown(evil, terminal=True)
    assert "a·[2Jb·c" in shown(evil, terminal=True)


def test_success_is_one_word():
    assert shown({"success": True, "displaytext": "3 gone"}, terminal=True) == "done: 3 gone\n"


def test_unknown_format_is_told():
    with pytest.raises(UsageError, match="no format tabel"):
        shown(VMS, output="tabel")
