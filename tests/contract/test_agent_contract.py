"""The agents' contract as it stands: a change of it shows in review as a change of agent_contract.json."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import msgspec

from agents import contract
from agents.main import HANDLER_MODULES
from agents.runner import HANDLERS

STORED = Path(__file__).parent / "agent_contract.json"
SENT = (contract.HostReport, contract.HostInventory, contract.Answer)


def described() -> dict:
    """Every command and message by name: its JSON schema, timeout and answer."""
    for module in HANDLER_MODULES:
        importlib.import_module(module)
    commands = {
        name: {
            "schema": msgspec.json.schema(command),
            "timeout": command.timeout,
            "whole": command.whole,
            "answer": None if command.answer is None else msgspec.json.schema(command.answer),
        }
        for name, command in sorted(contract.COMMANDS.items())
    }
    return {"commands": commands, "messages": {kind.__name__: msgspec.json.schema(kind) for kind in SENT}}


def test_the_contract_is_the_stored_one():
    """After a wanted change: PILEUS_WRITE=1 ./dev test tests/contract/test_agent_contract.py."""
    text = json.dumps(described(), indent=1, sort_keys=True) + "\n"
    if os.environ.get("PILEUS_WRITE"):
        STORED.write_text(text)
    assert STORED.read_text() == text


def test_every_command_has_one_handler():
    described()
    assert set(HANDLERS) == set(contract.COMMANDS.values())
