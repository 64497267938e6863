"""Runs the scenarios of api_docs/examples and gives what was really asked and answered, with its chances taken out.

A scenario is a YAML list of steps: `command`, `by` (admin, tenant, or nobody before a login), `with` (parameters, in
which $name stands for something of the world or kept before), `keep` (name: path in the answer, such as
keypair.id, host.0.id, or job.virtualmachine.id in the result of a job), `setup: true` where the step only prepares
others and is nobody's example, and `fails: true` where its job shall fail. Where a code of a second factor is wanted,
its secret is given.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import pyotp
import yaml

from manager.api.command import COMMANDS
from manager.api.commands import load_all
from tests.client import Api, Caller, Refused, signed
from tests.examples.sameness import Sameness
from tests.unit.workflows.cloud import Cloud

FOLDER = Path(__file__).parents[2] / "api_docs" / "examples"
STEP_KEYS = {"command", "by", "with", "keep", "setup", "fails"}
DONE, FAILED = 1, 2


@contextmanager
def directory() -> Iterator[dict[str, str]]:
    """An LDAP directory with two people."""
    from tests.slapd import Slapd, example  # apart, as it fetches a package

    with tempfile.TemporaryDirectory() as folder:
        slapd = Slapd(Path(folder))
        slapd.load(example())
        with slapd:
            yield {"ldapport": str(slapd.port), "truststore": str(slapd.certificate)}


NEEDS: dict[str, Callable[[], AbstractContextManager[dict[str, str] | None]]] = {"ldap_directories": directory}
"""What runs beside a scenario, and gives it names."""


def scenarios() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def answers_of(scenario: Path) -> Path:
    """The file of the answers to a scenario, from which pages are made."""
    return scenario.with_suffix(".json")


def stored(scenario: Path) -> list[dict[str, Any]]:
    """The stored answers; none for a scenario that was never played."""
    file = answers_of(scenario)
    found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return found


def shown() -> set[str]:
    """The commands that have an example."""
    return {example["command"] for file in scenarios() for example in stored(file)}


def without_example() -> set[str]:
    load_all()
    own = {name for name in COMMANDS if COMMANDS[name].handler.__module__.startswith("manager.")}
    return own - shown()


@dataclass
class World:
    """A cloud with two simulated hosts and a tenant, and what scenarios may name in it."""

    api: Api
    cloud: Cloud
    callers: dict[str, Caller]
    names: dict[str, str]


def run(file: Path, world: World) -> list[dict[str, Any]]:
    """The examples of the scenario: command, by, method, request line, answer, and result where it is a job."""
    with NEEDS.get(file.stem, nullcontext)() as names:
        world.names |= names or {}
        return _run(file, world)


def _run(file: Path, world: World) -> list[dict[str, Any]]:
    same = Sameness(file.stem, world.names, world.cloud.directory)
    examples = []
    for number, step in enumerate(yaml.safe_load(file.read_text())):
        unknown = set(step) - STEP_KEYS
        if unknown:
            raise ValueError(f"step {number} of {file.name} has {unknown}")
        same.begin_step(number)
        example = _play(step, world, same)
        if not step.get("setup"):
            examples.append(example)
    return examples


def _play(step: dict[str, Any], world: World, same: Sameness) -> dict[str, Any]:
    name, by = step["command"], step.get("by", "admin")
    given = {key: _text(value, world.names) for key, value in step.get("with", {}).items()}
    if "codefor2fa" in given:
        given["codefor2fa"] = pyotp.TOTP(given["codefor2fa"]).now()
    method = "GET" if COMMANDS[name].reads or name == "queryAsyncJobResult" else "POST"
    answer = _send(world, by, method, {"command": name, "response": "json"} | given)
    (content,) = answer.values()
    found = dict(content)
    if "jobid" in content and COMMANDS[name].is_async:
        found["job"] = _result(world, step, content["jobid"])
    kept = {key: str(_at(found, path)) for key, path in step.get("keep", {}).items()}
    world.names.update(kept)
    same.know(kept)
    shown = {"command": name, "by": by, "method": method, "request": _request_line(name, same.text(given))}
    shown["answer"] = same.answer(answer)
    if "job" in found:
        shown["result"] = same.answer(found["job"])
    return shown


def _result(world: World, step: dict[str, Any], job_id: str) -> dict[str, Any]:
    """What came of the job, as its caller is told.

    :raises ValueError: the scenario does not say so
    """
    world.cloud.settle()
    job = world.api("queryAsyncJobResult", world.callers[step.get("by", "admin")], jobid=job_id)
    expected = FAILED if step.get("fails") else DONE
    if job["jobstatus"] != expected:
        raise ValueError(f"The job of {step['command']} is {job['jobstatus']}, not {expected}: {job.get('jobresult')}")
    result: dict[str, Any] = job["jobresult"]
    return result


def _send(world: World, by: str, method: str, parameters: dict[str, str]) -> dict[str, Any]:
    if by != "nobody":
        parameters = signed(world.callers[by], parameters)
    reply = world.api.client.open("/client/api", method=method, query_string=parameters)
    answer: dict[str, Any] = json.loads(reply.data)
    ((wrapper, content),) = answer.items()
    if reply.status_code != 200:
        raise Refused(reply.status_code, content, wrapper)
    return answer


def _at(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = found[int(part)] if part.isdecimal() else found[part]
    return found


def _request_line(name: str, given: dict[str, str]) -> str:
    pairs = [f"{key}={quote(value, safe=':/,*')}" for key, value in given.items()]
    return "/client/api?" + "&".join([f"command={name}", *pairs, "response=json"])


def _text(value: Any, names: dict[str, str]) -> str:
    return str(value).lower() if isinstance(value, bool) else Template(str(value)).substitute(names)
