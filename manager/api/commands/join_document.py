"""What the agent of a new host or image store is given, so that nobody needs a shell on the management server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import redis

from manager.api.call import Call
from manager.api.command import Request, command
from manager.api.errors import INTERNAL, ApiError, Invalid
from manager.api.fields import Ref
from manager.api.response import Response, Shown, Str
from manager.join import join_document
from manager.models import Agent, Host, ImageStore


class JoinDocumentResponse(Response):
    object_key = "joindocument"
    id = Str("the agent's id")
    kind = Str("host or image_store")
    document = Str("the document in JSON, the first part of the settings file of that one agent; it holds a password")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


class GetJoinDocument(Request):
    hostid = Ref(Host, "the host whose agent joins; this or imagestoreid")
    imagestoreid = Ref(ImageStore, "the image store whose agent joins")


@command("getJoinDocument", GetJoinDocument, JoinDocumentResponse, event="AGENT.JOIN")
def get_join_document(call: Call, hostid: Host | None, imagestoreid: ImageStore | None) -> dict[str, Any]:
    """Get what the agent of a host or image store must know to join."""
    given = [one for one in (hostid, imagestoreid) if one is not None]
    if len(given) != 1:
        raise Invalid("Give one of hostid and imagestoreid.")
    agent = call.session.get_one(Agent, given[0].agent_id)
    call.subject = given[0]
    try:
        document = join_document(agent, given[0].id)
    except redis.RedisError as error:
        raise ApiError(INTERNAL, f"The broker does not answer, so the agent has no account yet: {error}") from error
    return {"joindocument": {"id": agent.id, "kind": agent.kind, "document": json.dumps(document)}}
