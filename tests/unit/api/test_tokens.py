"""Client tokens: the same call twice is one call."""

import threading

import pytest

from manager.models import ClientToken, Domain
from tests.client import Refused


def test_same_token_same_answer(api):
    first = api("createDomain", name="d", clienttoken="t1")
    assert api("createDomain", name="d", clienttoken="t1") == first
    assert api("listDomains", name="d")["count"] == 1


def test_other_parameters_are_refused(api):
    api("createDomain", name="d", clienttoken="t1")
    with pytest.raises(Refused, match=r"431 The client token t1 was used before with other parameters"):
        api("createDomain", name="e", clienttoken="t1")
    with pytest.raises(Refused, match=r"431 The client token t1"):
        api("registerSSHKeyPair", name="d", publickey="x", clienttoken="t1")


def test_tokens_belong_to_accounts(api, tenant):
    one = api("createSSHKeyPair", name="k", clienttoken="t1")["keypair"]
    other = api("createSSHKeyPair", tenant, name="k", clienttoken="t1")["keypair"]
    assert one["id"] != other["id"]


def test_a_refused_call_keeps_no_token(api):
    with pytest.raises(Refused, match=r"431"):
        api("createDomain", name="a/b", clienttoken="t1")
    assert api("createDomain", name="ab", clienttoken="t1")["domain"]["name"] == "ab"


def test_kept_answers_are_sealed(api, factory):
    pair = api("createSSHKeyPair", name="k", clienttoken="t1")["keypair"]
    row = factory.first(ClientToken, token="t1")
    assert pair["id"] not in str(row.answer)
    assert "PRIVATE KEY" not in str(row.answer)
    assert api("createSSHKeyPair", name="k", clienttoken="t1")["keypair"] == pair


def test_a_long_token_is_refused(api):
    with pytest.raises(Refused, match=r"431 .*clienttoken"):
        api("createDomain", name="d", clienttoken="t" * 129)


def raced(api, count=8):
    """The answers of the same call, made by `count` threads at once."""
    answers = []
    gate = threading.Barrier(count)

    def call():
        gate.wait()
        one = type(api)(api.app, api.admin)
        try:
            answers.append(one("createDomain", name="raced", clienttoken="t1"))
        except Refused as refused:
            answers.append(refused)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_race_makes_one_thing(any_api, any_factory):
    answers = raced(any_api)
    assert all(answer == answers[0] for answer in answers), answers
    assert answers[0]["domain"]["id"] == any_factory.first(Domain, name="raced").id
