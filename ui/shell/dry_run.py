"""A call as it would be sent, for people and for curl."""

from __future__ import annotations

from collections.abc import Mapping

from ui.shell.client import Client, is_secret
from ui.shell.grammar import quoted


def told(client: Client, command: str, sent: Mapping[str, str], *, curl: bool) -> str:
    """With `curl` the signed call as one line for sh, good until it expires; else the parameters, secrets hidden."""
    request = client.request(command, sent)
    if not curl:
        lines = [f"{request.method} {client.profile.url}", f"command={command}"]
        lines += [f"{name}={'***' if is_secret(name) else value}" for name, value in sorted(sent.items())]
        return "\n".join(lines) + "\n"
    words = ["curl", "-sS", "-H", "Accept: application/json"]
    if not client.profile.verify:
        words.append("-k")
    elif client.profile.ca:
        words += ["--cacert", client.profile.ca]
    if client.profile.proxy:
        words += ["--proxy", client.profile.proxy]
    if request.method == "POST":
        words += ["--data", request.body]
    return " ".join(quoted(word) for word in [*words, request.url]) + "\n"
