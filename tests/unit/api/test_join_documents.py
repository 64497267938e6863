"""Join documents: what the agent of a new host or image store is given."""

import json

import pytest

from agents.config import AgentConfig
from agents.envelope import load_key, public_text
from manager.config import settings
from manager.models import Agent, Host, ImageStore
from tests.client import Refused


def test_a_host_gets_what_its_settings_need(api, factory):
    agent = factory(Agent, kind="host")
    host = factory(Host, agent_id=agent.id)
    got = api("getJoinDocument", hostid=host.id)["joindocument"]
    assert (got["id"], got["kind"]) == (agent.id, "host")
    document = json.loads(got["document"])
    assert set(document) <= set(AgentConfig.__struct_fields__)
    assert document["manager_public_key"] == public_text(load_key(settings().signing_key_file))
    assert (document["subject_id"], document["broker_user"]) == (host.id, agent.broker_user)


def test_only_a_root_administrator_gets_one_and_only_for_one_thing(api, factory, tenant):
    host, store = factory(Host), factory(ImageStore)
    with pytest.raises(Refused, match="Give one of hostid and imagestoreid"):
        api("getJoinDocument")
    with pytest.raises(Refused, match="Give one of hostid and imagestoreid"):
        api("getJoinDocument", hostid=host.id, imagestoreid=store.id)
    with pytest.raises(Refused) as refused:
        api("getJoinDocument", tenant, hostid=host.id)
    assert refused.value.code in (401, 432)
