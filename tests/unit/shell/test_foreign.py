"""A CloudStack by others: only what its listApis tells is used."""

import base64
import json
from pathlib import Path

import pytest

from ui.shell.client import LONGEST_QUERY, sign

ID = "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a001"


VECTORS = json.loads((Path(__file__).parents[1] / "api/signature_vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_signatures_are_those_that_the_server_computes(vector):
    assert sign(VECTORS["secretKey"], vector["params"]) == vector["server_signature"]


def test_requests_are_signed_and_expire(foreign, pileus):
    foreign.replies["listZones"] = {}
    assert pileus("list", "zones").out == "{}\n"
    method, given = foreign.asked[-1]
    assert method == "GET"
    assert (given["signatureVersion"], given["expires"][-5:], given["apiKey"]) == ("3", "+0000", "key")


def test_changes_secrets_and_long_texts_go_by_post(foreign, pileus):
    foreign.replies |= {"destroyVirtualMachine": {"jobid": ID}, "listZones": {}, "listUsageTypes": {}}
    pileus("destroy", "vm", f"id={ID}", "--no-block")
    assert foreign.asked[-1][0] == "POST"
    pileus("list", "zones", f"name={'x' * LONGEST_QUERY}")
    assert foreign.asked[-1][0] == "POST"
    pileus("api", "listUsageTypes", "password=secret")
    assert foreign.asked[-1][0] == "POST"


def test_names_are_found_through_the_lists_that_fit(foreign, pileus):
    foreign.replies |= {
        "listTemplates": {"count": 2, "template": [{"id": ID, "name": "debian"}, {"id": ID, "name": "debian"}]},
        "listZones": {"count": 1, "zone": [{"id": ID, "name": "z"}]},
        "listServiceOfferings": {"count": 2, "serviceoffering": [{"id": ID, "name": "S"}, {"id": "x", "name": "S2"}]},
        "listNetworks": lambda _: {
            "count": 2,
            "network": [{"id": "n1", "name": "a"}, {"id": "n2", "name": "b"}],
        },
        "deployVirtualMachine": {"jobid": "7", "id": ID},
    }
    words = ["zone=z", "template=debian", "serviceoffering=s", "networkids=a,b"]
    assert pileus("deploy", "vm", *words, "--no-block").code == 0
    (sent,) = foreign.sent("deployVirtualMachine")
    assert sent == {"zoneid": ID, "templateid": ID, "serviceofferingid": ID, "networkids": "n1,n2"}
    assert foreign.sent("listTemplates")[0]["templatefilter"] == "executable"
    assert not foreign.sent("listVnfAppliances")


def test_addresses_and_hosts_have_their_own_ways(foreign, pileus):
    foreign.replies |= {
        "listPublicIpAddresses": {"count": 1, "publicipaddress": [{"id": ID, "ipaddress": "203.0.113.9"}]},
        "disassociateIpAddress": {"jobid": "7"},
        "listHosts": {"count": 1, "host": [{"id": ID, "name": "kvm1"}]},
        "startVirtualMachine": {"jobid": "7"},
    }
    assert pileus("disassociate", "ipaddress", "id=203.0.113.9", "--no-block").code == 0
    assert foreign.sent("listPublicIpAddresses")[0]["ipaddress"] == "203.0.113.9"
    assert pileus("start", "vm", f"id={ID}", "host=kvm1", "--no-block").code == 0
    assert foreign.sent("listHosts")[0]["type"] == "Routing"


def test_identifiers_are_sent_unasked(foreign, pileus):
    foreign.replies["startVirtualMachine"] = {"jobid": "7"}
    for one in (ID, "4711"):
        assert pileus("start", "vm", f"id={one}", "--no-block").code == 0
    assert [given["command"] for _, given in foreign.asked] == ["listApis", *["startVirtualMachine"] * 2]


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (["details.cpuNumber=2", "details.memory=512"], {"details[0].cpuNumber": "2", "details[0].memory": "512"}),
        (['details={"cpuNumber": 2}'], {"details[0].cpuNumber": "2"}),
        (['details=[{"a": "1"}, {"b": true}]'], {"details[0].a": "1", "details[1].b": "true"}),
        (["iptonetworklist[0].ip=10.1.1.2"], {"iptonetworklist[0].ip": "10.1.1.2"}),
        ([f'networkids=["{ID}"]'], {"networkids": ID}),
    ],
)
def test_maps_and_lists_in_cloudstacks_form(foreign, pileus, typed, sent):
    foreign.replies["deployVirtualMachine"] = {"jobid": "7"}
    assert pileus("deploy", "vm", f"zoneid={ID}", f"serviceofferingid={ID}", *typed, "--no-block").code == 0
    (found,) = foreign.sent("deployVirtualMachine")
    assert found == {"zoneid": ID, "serviceofferingid": ID, **sent}


def test_user_data_of_a_file_becomes_base64(foreign, pileus, tmp_path):
    foreign.replies["deployVirtualMachine"] = {"jobid": "7"}
    text = b"#cloud-config\n"
    for name, data in (("plain", text), ("encoded", base64.b64encode(text))):
        (tmp_path / name).write_bytes(data)
        pileus("deploy", "vm", f"zoneid={ID}", f"serviceofferingid={ID}", f"userdata@={tmp_path / name}", "--no-block")
    assert [base64.b64decode(given["userdata"]) for given in foreign.sent("deployVirtualMachine")] == [text, text]


def test_command_that_no_list_tells_of_goes_through_api(foreign, pileus):
    assert pileus("cloudian", "isenabled").code == 2
    foreign.replies["cloudianIsEnabled"] = {"cloudianisenabled": {"enabled": False}}
    assert json.loads(pileus("api", "cloudianIsEnabled").out) == {"cloudianisenabled": {"enabled": False}}


def test_words_of_the_shell_leave_its_verbs_alone(foreign, pileus):
    foreign.replies["syncStoragePool"] = {"jobid": "7"}
    assert pileus("sync", "storagepool", f"id={ID}", "--no-block").code == 0
    assert foreign.sent("syncStoragePool") == [{"id": ID}]
    before = len(foreign.sent("listApis"))
    assert pileus("sync").code == 0
    assert len(foreign.sent("listApis")) == before + 1


def test_answers_that_are_no_clouds_are_told(foreign, pileus):
    foreign.replies["listZones"] = (502, "<html><h1>Bad   Gateway</h1></html>")
    done = pileus("list", "zones")
    assert done.code == 6
    assert "HTTP status 502" in done.err
    assert "It says: Bad Gateway" in done.err


def test_help_of_a_command_without_descriptions(foreign, pileus):
    assert "reset passwordforvirtualmachine" in pileus("help", "resetPasswordForVirtualMachine").out
    assert "Verbs of this cloud" in pileus("help").out
