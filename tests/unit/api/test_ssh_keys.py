"""SSH key pairs, as an example of a whole noun."""

import pytest

from manager.models import EventRow, SshKeyPair
from tests.client import Refused

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0rVyWJYpN4bH0lOq2m1m6m1uAqUm7Qf2m8sVwq0b6H me@here"


def test_register_list_delete(api, tenant, factory):
    pair = api("registerSSHKeyPair", tenant, name="mine", publickey=ED25519)["keypair"]
    assert pair["account"] == "tenant"
    assert len(pair["fingerprint"].split(":")) == 16
    assert api("listSSHKeyPairs", tenant) == {"count": 1, "sshkeypair": [pair]}
    assert api("listSSHKeyPairs") == {}
    assert api("listSSHKeyPairs", listall=True)["count"] == 1
    assert api("deleteSSHKeyPair", tenant, name="mine") == {"success": True}
    assert api("listSSHKeyPairs", tenant) == {}
    assert api("listSSHKeyPairs", tenant, id=pair["id"]) == {}
    event = factory.first(EventRow, type="SSH.KEYPAIR.DELETE")
    assert (event.level, event.state, event.resource_id) == ("INFO", "Completed", pair["id"])


def test_names_are_unique_while_they_live(api, tenant):
    api("registerSSHKeyPair", tenant, name="mine", publickey=ED25519)
    with pytest.raises(Refused, match=r"431 The account tenant has an SSH key pair mine already"):
        api("registerSSHKeyPair", tenant, name="mine", publickey=ED25519)
    api("deleteSSHKeyPair", tenant, name="mine")
    api("registerSSHKeyPair", tenant, name="mine", publickey=ED25519)


def test_an_administrator_registers_for_an_account(api, tenant, factory):
    domain = factory.root.id
    api("registerSSHKeyPair", name="given", publickey=ED25519, account="tenant", domainid=domain)
    assert api("listSSHKeyPairs", tenant)["sshkeypair"][0]["name"] == "given"
    other = factory.user("other").username
    assert other
    with pytest.raises(Refused, match=r"531"):
        api("registerSSHKeyPair", tenant, name="x", publickey=ED25519, account="other", domainid=domain)


def test_a_foreign_key_pair_is_as_unknown(api, tenant, factory):
    pair = factory(SshKeyPair)
    with pytest.raises(Refused) as foreign:
        api("listSSHKeyPairs", tenant, id=pair.id)
    with pytest.raises(Refused) as unknown:
        api("listSSHKeyPairs", tenant, id=pair.id.replace(pair.id[:4], "0000"))
    assert foreign.value.code == unknown.value.code == 431
    middle = f"Invalid parameter id value={pair.id} due to incorrect long value format, or entity does not exist"
    assert middle in foreign.value.text


def test_a_created_pair_shows_its_private_key_once(api, tenant):
    pair = api("createSSHKeyPair", tenant, name="made")["keypair"]
    assert pair["privatekey"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert "privatekey" not in api("listSSHKeyPairs", tenant)["sshkeypair"][0]


@pytest.mark.parametrize("key", ["nonsense", "ssh-rsa ????", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJ0r"])
def test_what_is_no_public_key_is_refused(api, tenant, key):
    with pytest.raises(Refused, match=r"431 The public key is not one"):
        api("registerSSHKeyPair", tenant, name="bad", publickey=key)
