"""The wire: formats, methods, names, duplicates, errors, headers."""

import json
import re

import pytest
from lxml import etree

from manager.api.command import COMMANDS
from manager.api.signature import canonical, sign
from manager.models import SshKeyPair
from tests.client import Refused, signed


def get(api, parameters, **options):
    return api.client.get("/client/api", query_string=parameters, **options)


def as_structure(element):
    """What JSON would say, with all values as text."""
    if not len(element):
        return element.text or ""
    found = {}
    for child in element:
        found.setdefault(child.tag, []).append(as_structure(child))
    return found


def flattened(value):
    """JSON in the form of `as_structure`."""
    if isinstance(value, dict):
        return {
            k: [flattened(v) for v in (val if isinstance(val, list) else [val])]
            for k, val in value.items()
            if val != []
        }
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"command": "listApis"},
        {"command": "listAccounts", "listall": "true"},
        {"command": "listUsers", "listall": "true"},
        {"command": "listSSHKeyPairs"},
        {"command": "listConfigurations", "page": "1", "pagesize": "3"},
        {"command": "listCapabilities"},
        {"command": "createDomain", "name": ""},
        {"command": "createDomain"},
        {"command": "listZonesAndMore"},
    ],
    ids=lambda parameters: "-".join(parameters.values()),
)
def test_xml_says_what_json_says(api, admin, parameters):
    xml = get(api, signed(admin, parameters))
    text = get(api, signed(admin, {**parameters, "response": "JSON"}))
    assert xml.status_code == text.status_code
    assert xml.content_type == "text/xml; charset=UTF-8"
    assert text.content_type == "application/json; charset=UTF-8"
    root = etree.fromstring(xml.data)
    body = json.loads(text.data)
    assert list(body) == [root.tag]
    assert root.get("cloud-stack-version") == "4.22.0.0"
    assert as_structure(root) == (flattened(body[root.tag]) or "")


def test_without_response_errors_are_xml_too(api):
    answer = get(api, {"command": "listApis"})
    assert (answer.status_code, answer.content_type) == (401, "text/xml; charset=UTF-8")
    assert b"<errorcode>401</errorcode>" in answer.data


def test_names_are_lowered_and_the_query_wins_over_the_body(api, admin, factory):
    factory(SshKeyPair, name="a", account_id=admin.account.id)
    factory(SshKeyPair, name="b", account_id=admin.account.id)
    query = signed(admin, {"Command": "listSSHKeyPairs", "NAME": "a", "Response": "json"})
    answer = api.client.post("/client/api", query_string=query, data={"NAME": "b"})
    assert [pair["name"] for pair in answer.get_json()["listsshkeypairsresponse"]["sshkeypair"]] == ["a"]


def test_a_post_may_be_split_between_query_and_body(api, admin):
    parameters = signed(admin, {"command": "listApis", "name": "login", "response": "json"})
    answer = api.client.post(
        "/client/api?command=listApis", data={k: v for k, v in parameters.items() if k != "command"}
    )
    assert answer.get_json()["listapisresponse"]["count"] == 1


def test_the_last_duplicate_wins(api, admin):
    parameters = signed(admin, {"command": "listApis", "name": "login", "response": "json"})
    pairs = [("name", "logout"), *parameters.items()]
    assert get(api, pairs).get_json()["listapisresponse"]["api"][0]["name"] == "login"
    assert get(api, [*parameters.items(), ("name", "logout")]).status_code == 401


def test_one_name_in_two_spellings_is_refused(api, admin):
    answer = get(api, signed(admin, {"command": "listApis", "name": "login", "NAME": "logout", "response": "json"}))
    assert answer.get_json()["errorresponse"]["errorcode"] == 430


@pytest.mark.parametrize("bad", ["tags[0]", "tags[0][1].key", "tags[x].key", "tags].key[", "tags[0]key"])
def test_malformed_maps_are_430(api, bad):
    with pytest.raises(Refused) as refused:
        api("createTags", resourcetype="UserVm", resourceids="x", params={bad: "v"})
    assert refused.value.code == 430


@pytest.mark.parametrize("query", ["command=%ff", "command=%zz&a=%c3"])
def test_what_is_not_utf8_is_430(api, query):
    answer = api.client.get(f"/client/api?response=json&{query}")
    assert answer.get_json()["errorresponse"]["errorcode"] == 430


def test_values_of_all_kinds_survive_the_signature(api):
    name = "Zürich ☃ a+b&c=d ~x [y] 100% *"
    domain = api("createDomain", name=name)["domain"]
    assert api("listDomains", id=domain["id"])["domain"][0]["name"] == name


@pytest.mark.parametrize("broken", ["signature", "command", "apiKey", "response"])
def test_a_changed_request_is_401(api, admin, broken):
    parameters = signed(admin, {"command": "listApis", "response": "json"})
    with pytest.raises(Refused) as refused:
        api.send({**parameters, broken: parameters[broken] + "x", "response": "json", "x": "y"})
    assert (refused.value.code, "cserrorcode" in refused.value.body) == (401, False)
    assert refused.value.text == "unable to verify user credentials and/or request signature"


def test_an_unknown_command_is_401_when_signed(api, admin):
    with pytest.raises(Refused) as refused:
        api("listNothing")
    assert (refused.value.code, refused.value.wrapper) == (401, "errorresponse")
    assert refused.value.text == "unable to verify user credentials and/or request signature"


@pytest.mark.parametrize(("version", "expires", "status"), [
    ("3", None, 401), ("3", "2020-01-01T00:00:00+0000", 401), ("3", "2199-01-01T00:00:00Z", 200), ("2", None, 200),
    (None, "2020-01-01T00:00:00+0000", 200),
])  # fmt: skip
def test_expiry(api, admin, version, expires, status):
    parameters = {"command": "listApis", "name": "login", "signatureVersion": version, "expires": expires}
    answer = get(api, signed(admin, {name: value for name, value in parameters.items() if value}))
    assert answer.status_code == status


def test_a_command_that_the_role_lacks_is_432(api, tenant):
    with pytest.raises(Refused) as refused:
        api("updateConfiguration", tenant, name="expunge.delay", value="1")
    assert (refused.value.code, refused.value.wrapper) == (432, "errorresponse")
    assert (
        "The API [updateConfiguration] does not exist or is not available for the account tenant" in refused.value.text
    )
    assert refused.value.body["cserrorcode"] == 4555


def test_errors_have_their_place_and_header(api, admin):
    answer = get(api, signed(admin, {"command": "createDomain", "response": "json"}))
    error = answer.get_json()["createdomainresponse"]
    text = "Unable to execute API command createdomain due to missing parameter name"
    assert error == {"uuidList": [], "errorcode": 431, "cserrorcode": 9999, "errortext": text}
    assert answer.headers["X-Description"] == text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_texts_of_bad_parameters(api):
    with pytest.raises(Refused, match=r"^431 Invalid value provided for API arg: name$"):
        api("createDomain", name="")
    with pytest.raises(Refused, match=r"431 .*it has 256 characters, and at most 255 are possible"):
        api("createDomain", name="x" * 256)
    with pytest.raises(Refused, match=r"431 .*control characters"):
        api("createDomain", name="a\x07b")
    with pytest.raises(Refused, match=r"431 .*control characters"):
        api("createDomain", name="a\nb")
    with pytest.raises(Refused, match=r"431 .*level: one is not a whole number"):
        api("listDomains", level="one")
    text = ("Unable to execute API command listdomains due to invalid value. Invalid parameter id value=nothing due to "
            "incorrect long value format, or entity does not exist or due to incorrect parameter annotation for the "
            "field in api cmd class.")  # fmt: skip
    with pytest.raises(Refused, match=r"431 " + re.escape(text)):
        api("listDomains", id="nothing")
    with pytest.raises(
        Refused, match=re.escape("The given command 'nothing' either does not exist, is not available for user.")
    ):
        api("listApis", name="nothing")


def test_unknown_parameters_are_nothing(api):
    assert api("listDomains", whatever="1", projectid="-1")["count"] == 1


def test_paging(api, factory, admin):
    for number in range(7):
        factory(SshKeyPair, name=f"k{number}", account_id=admin.account.id)
    page = api("listSSHKeyPairs", page=2, pagesize=3)
    assert (page["count"], [pair["name"] for pair in page["sshkeypair"]]) == (7, ["k3", "k4", "k5"])
    last = api("listSSHKeyPairs", page=3, pagesize=3)
    assert (last["count"], len(last["sshkeypair"])) == (7, 1)
    assert api("listSSHKeyPairs", page=4, pagesize=3) == {"count": 7}
    assert api("listSSHKeyPairs", page=4, pagesize=3, keyword="none") == {}
    assert len(api("listSSHKeyPairs", pagesize=-1)["sshkeypair"]) == 7
    api("updateConfiguration", name="default.page.size", value="5")
    found = api("listSSHKeyPairs")
    assert (found["count"], len(found["sshkeypair"])) == (7, 5)
    with pytest.raises(Refused, match=r'431 "page" parameter is required when "pagesize" is specified'):
        api("listSSHKeyPairs", pagesize=3)
    with pytest.raises(Refused, match=r'431 "pagesize" parameter is required when "page" is specified'):
        api("listSSHKeyPairs", page=3)
    with pytest.raises(Refused, match=r"431 Page size can't exceed max allowed page size value: 5"):
        api("listSSHKeyPairs", page=1, pagesize=6)
    with pytest.raises(Refused, match=r"431"):
        api("listSSHKeyPairs", page=1, pagesize=-1)


def test_a_bug_is_530_with_a_reference(api, tenant, monkeypatch):
    def broken(call, **_filters):
        raise RuntimeError("secret detail")

    broken_command = COMMANDS["listSSHKeyPairs"].__class__(
        **{**vars(COMMANDS["listSSHKeyPairs"]), "handler": broken},
    )
    monkeypatch.setitem(COMMANDS, "listSSHKeyPairs", broken_command)
    with pytest.raises(
        Refused, match=r"^530 Internal error executing command, please contact your system administrator"
    ) as refused:
        api("listSSHKeyPairs", tenant)
    assert "secret" not in refused.value.text
    with pytest.raises(Refused, match=r"530 RuntimeError: secret detail .reference [0-9a-f]{12}"):
        api("listSSHKeyPairs")


def test_policy_of_post_and_timestamps(api, admin):
    api("updateConfiguration", name="enforce.post.requests.and.timestamps", value="true")
    with pytest.raises(Refused, match=r"400 .*sent by POST"):
        api("createDomain", name="d")
    assert api("createDomain", name="d", method="POST")["domain"]["name"] == "d"
    assert api("listDomains", name="d")["count"] == 1
    with pytest.raises(Refused, match=r"400 .*signature version 3"):
        api.send(signed(admin, {"command": "createDomain", "name": "e", "response": "json"}), method="POST")


def test_paths_and_health(api, admin):
    parameters = signed(admin, {"command": "listCapabilities"})
    for path in ("/client/api", "/client/api/", "/client/api/anything"):
        assert api.client.get(path, query_string=parameters).status_code == 200
    assert api.client.put("/client/api").status_code == 405
    assert api.client.get("/healthz").get_json() == {"status": "ok"}


def test_a_body_of_more_than_two_mib_is_refused(api):
    assert api.client.post("/client/api", data={"command": "login", "x": "y" * (2 * 2**20)}).status_code == 413


def test_a_libcloud_signature_with_names_sorted_without_case(api, admin):
    parameters = {"apiKey": admin.key, "command": "listApis", "response": "json", "zoneId": "1", "zoneb": "2"}
    folded = canonical(parameters, fold=True)
    assert folded != canonical(parameters)
    assert api.send({**parameters, "signature": sign(admin.secret, folded)})["count"]
