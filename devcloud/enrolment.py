"""How an agent gets to know the management server: its key, its identifier, its settings file."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devcloud.management import write_secret
from devcloud.paths import REPOSITORY
from devcloud.processes import output
from devcloud.supervisor import Process

PRIVATE_KEY = "agent.pem"
PUBLIC_KEY = "agent.pub"


def public_key(directory: Path) -> str:
    """Base64 of the agent's public key; the pair is made below `directory` when it is missing."""
    kept = directory / PUBLIC_KEY
    if not kept.exists():
        directory.mkdir(parents=True, exist_ok=True)
        made = output([sys.executable, "-m", "agents.main", "keygen", "--out", str(directory)])
        write_secret(kept, made.split()[-1])
    return kept.read_text()


def write_settings(path: Path, agent_id: str, join: Callable[[str], dict[str, Any]], local: dict[str, Any]) -> None:
    """Write the agent's settings: `join` gives the manager's part, which is kept while the agent is the same one."""
    kept = path.with_suffix(".join.json")
    document = json.loads(kept.read_text()) if kept.exists() else {}
    if document.get("joined_as") != agent_id:
        document = {**join(agent_id), "joined_as": agent_id}
        write_secret(kept, json.dumps(document, indent=1))
    del document["joined_as"]
    text = json.dumps({**document, **local}, indent=1)
    if not path.exists() or path.read_text() != text:
        write_secret(path, text)


def agent_process(name: str, settings: Path) -> Process:
    """The agent of `settings`; it is started anew when they change."""
    mark = hashlib.sha256(settings.read_bytes()).hexdigest()
    argv = [sys.executable, "-m", "agents.main", "--config", str(settings)]
    return Process(name, argv, {"PILEUS_SETTINGS_DIGEST": mark}, directory=str(REPOSITORY))
