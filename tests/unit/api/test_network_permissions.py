"""Permissions of networks: who gives and takes them, what they open."""

from __future__ import annotations

import pytest

from manager.models import Network, NetworkShare, Template
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import change, rows, run


@pytest.fixture
def friend(factory, engine, cloud) -> Caller:
    change(factory, Template, cloud.template_id, is_public=True)
    return Caller.of(engine, factory.user("friend").username)


def test_a_permitted_account_deploys_and_manages_nothing(api, cloud, user, friend, wanted, factory):
    name = factory.first(Network, id=cloud.network_id).name
    with pytest.raises(Refused, match=r"431 .*networkids"):
        api("deployVirtualMachine", friend, **wanted)
    api("createNetworkPermissions", user, networkid=cloud.network_id, accounts="friend")
    api("createNetworkPermissions", user, networkid=cloud.network_id, accounts="friend")
    (shown,) = api("listNetworkPermissions", user, networkid=cloud.network_id)["networkpermission"]
    assert (shown["account"], shown["networkid"]) == ("friend", cloud.network_id)
    for given in ({}, {"networkfilter": "Shared"}):
        assert [one["name"] for one in api("listNetworks", friend, **given)["network"]] == [name]
    assert api("listNetworks", friend, networkfilter="Account") == {}
    vm = run(api, cloud, friend, "deployVirtualMachine", **wanted)["virtualmachine"]
    assert vm["nic"][0]["networkid"] == cloud.network_id
    for command in ("deleteNetwork", "updateNetwork"):
        with pytest.raises(Refused, match="431"):
            api(command, friend, id=cloud.network_id)
    for command in ("listNetworkPermissions", "resetNetworkPermissions", "associateIpAddress"):
        with pytest.raises(Refused, match=r"431 .*networkid"):
            api(command, friend, networkid=cloud.network_id)
    for command, given in (("removeNetworkPermissions", {"accounts": "friend"}), ("resetNetworkPermissions", {})):
        with pytest.raises(Refused, match="431 The account friend has 1 virtual machines in network"):
            api(command, user, networkid=cloud.network_id, **given)


def test_what_is_taken_back_opens_nothing_any_more(api, cloud, user, friend, wanted, factory):
    friend_id = api("listAccounts", name="friend", listall=True)["account"][0]["id"]
    api("createNetworkPermissions", networkid=cloud.network_id, accountids=friend_id)
    api("removeNetworkPermissions", user, networkid=cloud.network_id, accounts="friend")
    assert rows(factory, NetworkShare) == []
    with pytest.raises(Refused, match=r"431 .*networkids"):
        api("deployVirtualMachine", friend, **wanted)
    api("createNetworkPermissions", user, networkid=cloud.network_id, accounts="friend")
    api("resetNetworkPermissions", user, networkid=cloud.network_id)
    assert api("listNetworkPermissions", user, networkid=cloud.network_id) == {}
    assert api("listNetworks", friend) == {}


def test_what_cannot_be_is_refused(api, cloud, user, factory):
    factory.account("far", factory.domain("elsewhere"))
    for given, reason in (
        ({}, "431 No account is named"),
        ({"accounts": "far"}, "431 The domain of the network .* has no account far"),
    ):
        with pytest.raises(Refused, match=reason):
            api("createNetworkPermissions", user, networkid=cloud.network_id, **given)
    change(factory, Network, cloud.network_id, domain_id=factory.root.id)
    with pytest.raises(Refused, match=r"431 The network .* is for all accounts of a domain"):
        api("createNetworkPermissions", networkid=cloud.network_id, accounts="admin")


def test_they_go_with_the_network(api, cloud, user, friend, factory):
    api("createNetworkPermissions", user, networkid=cloud.network_id, accounts="friend")
    run(api, cloud, user, "deleteNetwork", id=cloud.network_id)
    assert rows(factory, NetworkShare) == []
    assert friend
