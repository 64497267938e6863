"""Throws random requests at the application and looks at every answer."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from flask import Response
from lxml import etree
from sqlalchemy import Engine
from werkzeug.test import run_wsgi_app

from tests.examples.world import make
from tests.fuzz.requests import Requests, Shot
from tests.fuzz.values import Values
from tests.fuzz.world import OF_REFUSALS, Snapshot, Writes, identifiers, log_in, populate

ROUND = 400
"""After so many requests everything is put back, so that what they removed can be found again."""
NAMES = ("tenant", "other", "manager", "admin", "one", "two", "pair", "net1", "tiny", "z1", "p1", "h1", "small", "a-b")
BROKEN = frozenset({*range(500, 531)} - {503})
"""Statuses that are no refusal: 530 is CloudStack's internal error, 531 to 537 have a reason."""

OF_ATTEMPTS = (b"valid credentials", b"not the present password", b"code provided is invalid")
"""How refusals end that are counted, so that nobody guesses for ever."""


@dataclass
class Found:
    """How often each status came, and what should not have come."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run(engine: Engine, directory: Path, count: int, seed: int) -> Found:
    """Throw `count` requests, drawn from `seed`, at an application over the seeded database of `engine`."""
    random = Random(seed)
    engine.update_execution_options(compiled_cache={})
    world = make(engine, directory)
    callers = populate(world, engine)
    session = log_in(world)
    snapshot, writes, found = Snapshot(engine), Writes(), Found()
    source = Requests(random, Values(random, identifiers(engine), NAMES), callers, session)
    writes.watch(engine)
    for number in range(count):
        if number % ROUND == ROUND - 1:
            world.cloud.take_messages()
            snapshot.restore()
        shot = source.draw()
        writes.tables.clear()
        response = Response(*run_wsgi_app(world.api.app, shot.environment()))
        found.statuses[response.status_code] += 1
        fault = _fault(shot, response, writes.tables)
        if fault:
            found.faults.append(f"request {number} of seed {seed}: {fault}\n{shot}")
    return found


def _fault(shot: Shot, response: Response, written: set[str]) -> str:
    if response.status_code in BROKEN:
        return f"{response.status_code} {response.data[:500]!r}"
    remembered = {"users"} if any(text in response.data for text in OF_ATTEMPTS) else set()
    if response.status_code != 200 and written - OF_REFUSALS - remembered:
        return f"refused with {response.status_code}, and wrote {sorted(written)}: {response.data[:300]!r}"
    if shot.path.startswith("/client/api") and shot.method in ("GET", "POST"):
        return _malformed(response)
    return ""


def _malformed(response: Response) -> str:
    """What is wrong with the form of an answer of the API, if anything."""
    if response.mimetype == "application/json":
        body = json.loads(response.data)
        if len(body) != 1:
            return f"{len(body)} outermost keys"
        (content,) = body.values()
        code = content.get("errorcode", 200)
    elif response.mimetype == "text/xml":
        code = int(etree.fromstring(response.data).findtext("errorcode", "200"))
    else:
        return f"the type {response.mimetype}"
    return "" if code == response.status_code else f"errorcode {code} under status {response.status_code}"
