"""The tools of the kernel, as the devices use them in their namespaces."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any


class PlaneError(Exception):
    """What forwards packets did not take a configuration."""


def run(arguments: list[str], stdin: str = "", *, check: bool = True) -> str:
    """What the tool writes.

    :raises PlaneError: it fails
    """
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise PlaneError(f"{arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def show(*words: str, inside: str = "") -> list[dict[str, Any]]:
    """What `ip` tells, of the network namespace whose file is `inside`, or of the own one."""
    found: list[dict[str, Any]] = json.loads(run([*_enter(inside), "ip", "-json", *words]) or "[]")
    return [entry for entry in found if entry]


def batch(lines: Iterable[str], *, force: bool = False, inside: str = "") -> None:
    """Change by `ip`, there; with `force` what cannot be done is passed over."""
    text = "".join(f"{line}\n" for line in lines)
    if text:
        run([*_enter(inside), "ip", *(["-force"] if force else []), "-batch", "-"], text, check=not force)


def _enter(namespace: str) -> list[str]:
    return ["nsenter", f"--net={namespace}"] if namespace else []


def addresses(starts: tuple[str, ...], *, inside: str = "") -> dict[str, set[str]]:
    """IPv4 addresses with prefix lengths by device, of those whose names start so."""
    return {
        found["ifname"]: {f"{one['local']}/{one['prefixlen']}" for one in found["addr_info"] if one["family"] == "inet"}
        for found in show("address", "show", inside=inside)
        if found.get("ifname", "").startswith(starts)
    }


def address_lines(there: Mapping[str, set[str]], wanted: Mapping[str, Mapping[str, str]]) -> Iterable[str]:
    """What makes devices have the wanted addresses, each with options of `ip address add`, and no others."""
    for device, held in there.items():
        # New ones first: the first address of a network takes the others with it when it goes.
        yield from (
            f"address add {one} dev {device} {wanted[device][one]}" for one in wanted[device] if one not in held
        )
        yield from (f"address del {one} dev {device}" for one in held if one not in wanted[device])
