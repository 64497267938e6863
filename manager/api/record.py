"""What a call leaves besides its work: an event of each change, and the answer kept under a client token."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from manager.api.call import Call
from manager.api.command import ApiCommand
from manager.api.errors import ApiError, Invalid
from manager.api.fields import MapList
from manager.models import ClientToken, EventRow, WorkflowRow
from manager.models.changes import HIDDEN, SECRET, changes_of
from manager.secrets import seal, unseal

RESOURCE_TYPES = {"Vm": "VirtualMachine", "VlanIpRange": "VlanIpRange", "SshKeyPair": "SSHKeyPair", "Nic": "Nic",
                  "NetworkRule": "FirewallRule", "PublicAddress": "IpAddress", "ActionRun": "ExtensionCustomAction",
                  "CustomAction": "ExtensionCustomAction"}  # fmt: skip
LONGEST_VALUE = 255
LONGEST_AGENT = 255
MOST_PARAMETERS = 100
_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")
_MAP_KEY = re.compile(r"(.+\[\d+\]\.)key\Z", re.IGNORECASE)
_UNSIGNED = frozenset({"signature", "apikey", "expires", "signatureversion", "sessionkey", "response", "_"})


def resource_type(model: type[Any]) -> str:
    """CloudStack's name of the kind of thing."""
    return RESOURCE_TYPES.get(model.__name__, model.__name__)


def change(call: Call, result: Any) -> None:
    """Note a change that was made, or that a job will make."""
    if not call.api.event:
        return
    job = result if isinstance(result, WorkflowRow) else None
    event = _event(call, call.subject)
    event.changes = changes_of(call.session, call.subject) or None
    ended = job is None or job.status != "running"
    event.state = "Completed" if ended else "Scheduled"
    if job is not None:
        if not ended:
            event.id = job.id  # the end of the job finds the event of its beginning by that
        event.workflow_id = job.id
        if event.resource_id is None:
            event.resource_id = job.subject_id
        if job.status == "failed":
            event.level = "ERROR"
    call.session.add(event)


@dataclass(frozen=True)
class Asked:
    """Who asked for what, in plain values: rows cannot be read any more after the call was rolled back."""

    command: str
    event: str
    account_id: str
    user_id: str
    source: str
    user_agent: str
    parameters: dict[str, str]
    by_root_admin: bool

    @classmethod
    def by(cls, call: Call) -> Asked:
        asked = told_parameters(call.given, secret_maps(call.api)) if call.api.event else {}
        who = (call.account.id, call.user.id, call.source, call.user_agent[:LONGEST_AGENT])
        return cls(call.command, call.api.event, *who, asked, call.is_root_admin)


def failure(session: Session, asked: Asked, error: ApiError) -> None:
    """Note a change that was refused."""
    session.add(
        EventRow(
            type=asked.event,
            level="ERROR",
            description=f"{asked.command}: {error.text}",
            account_id=asked.account_id,
            user_id=asked.user_id,
            source=asked.source,
            user_agent=asked.user_agent,
            parameters=asked.parameters,
        )
    )


def secret_maps(api: ApiCommand) -> tuple[str, ...]:
    """How the names of the values begin that no event may tell, as they are sent."""
    return tuple(
        f"{name.lower()}[" for name, field in api.parameters.items() if isinstance(field, MapList) and field.secret
    )


def told_parameters(given: Mapping[str, str], secret: tuple[str, ...] = ()) -> dict[str, str]:
    """The parameters as events keep them: without signature and secrets, and cut where they are long."""
    told: dict[str, str] = {}
    for name, value in sorted(given.items())[:MOST_PARAMETERS]:
        if name in _UNSIGNED or name == "command":
            continue
        hidden = SECRET.search(name) or name.lower().startswith(secret)
        told[name] = HIDDEN if hidden else _IN_URL.sub(f"{HIDDEN}@", value)[:LONGEST_VALUE]
    if "value" in told and SECRET.search(given.get("name", "")):
        told["value"] = HIDDEN
    for name, value in given.items():
        entry = _MAP_KEY.match(name)
        if entry and SECRET.search(value) and f"{entry[1]}value" in told:
            told[f"{entry[1]}value"] = HIDDEN
    return told


def name_of(thing: Any) -> str:
    """What people call the thing."""
    for attribute in ("name", "username", "address", "key"):
        value = getattr(thing, attribute, None)
        if isinstance(value, str):
            return value
    return ""


def _event(call: Call, subject: Any) -> EventRow:
    kind = resource_type(type(subject)) if subject is not None else ""
    identifier = getattr(subject, "id", None)
    known = isinstance(identifier, str)
    about = f" {kind} {identifier}" if subject is not None else ""
    return EventRow(
        type=call.api.event,
        description=f"{call.command}:{about}" if about else call.command,
        account_id=getattr(subject, "account_id", None) or call.account.id,
        user_id=call.user.id,
        source=call.source,
        user_agent=call.user_agent[:LONGEST_AGENT],
        parameters=told_parameters(call.given, secret_maps(call.api)),
        resource_type=kind,
        resource_id=identifier if known else None,
        resource_name=name_of(subject),
    )


def digest(command: str, parameters: Mapping[str, str]) -> str:
    """SHA-256 of what a call asks for, without who signs it and when."""
    asked = sorted((name, value) for name, value in parameters.items() if name not in _UNSIGNED)
    return hashlib.sha256(msgspec.json.encode([command, asked])).hexdigest()


def known_answer(session: Session, account_id: str, token: str, wanted: str) -> dict[str, Any] | None:
    """The answer given before under this client token; None for a new one.

    :raises Invalid: the token came with other parameters
    """
    row = session.get(ClientToken, (account_id, token))
    if row is None:
        return None
    if row.digest != wanted:
        raise Invalid(f"The client token {token} was used before with other parameters; take a new one for a new call.")
    answer: dict[str, Any] = msgspec.json.decode(unseal(row.answer["sealed"]))
    return answer


def claim(session: Session, account_id: str, token: str, wanted: str) -> ClientToken:
    """Hold the token until the transaction ends; a second call with it waits here and then finds the answer.

    :raises sqlalchemy.exc.IntegrityError: another call took it first
    """
    row = ClientToken(account_id=account_id, token=token, digest=wanted)
    session.add(row)
    session.flush()
    return row


def keep(row: ClientToken, body: dict[str, Any]) -> None:
    """Keep the answer; sealed, as it may hold keys."""
    row.answer = {"sealed": seal(msgspec.json.encode(body).decode())}
