"""Whether an answer has the form that its command declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manager.api.command import COMMANDS, DRY_RUN, ApiCommand
from manager.api.dry_run import DryRunResponse
from manager.api.response import Response

JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "long": (int,), "float": (int, float), "double": (int, float),
    "boolean": (bool,), "date": (str,), "list": (list,), "map": (dict,),
}  # fmt: skip
JOB_FIELDS = {"jobid", "jobstatus"}


def wrong(example: dict[str, Any]) -> list[str]:
    """What is not as declared in the answer of an example, and in the result of its job."""
    api = COMMANDS[example["command"]]
    ((wrapper, content),) = example["answer"].items()
    found = [] if wrapper == api.wrapper else [f"{wrapper} is not {api.wrapper}"]
    if set(content) == {DRY_RUN} and api.rehearses:
        return found + list(_object(DryRunResponse, content[DRY_RUN], DRY_RUN))
    if not api.is_async:
        return found + list(_content(api, content, api.shape))
    wanted = {"jobid", "id"} if api.creates else {"jobid"}
    found += [] if set(content) == wanted else [f"{sorted(content)} are not {sorted(wanted)}"]
    return found + list(_content(api, example["result"], "success" if api.shape == "success" else "object"))


def _content(api: ApiCommand, content: dict[str, Any], shape: str) -> Iterator[str]:
    if shape in ("flat", "success"):
        yield from _object(api.response, content, api.name)
    elif content:
        allowed = {api.object_key, "count"} if shape == "list" else {api.object_key}
        yield from (f"the key {key} is not one of {allowed}" for key in sorted(set(content) - allowed))
        rows = content.get(api.object_key, [])
        for row in rows if isinstance(rows, list) else [rows]:
            yield from _object(api.response, row, api.object_key)


def _object(response: type[Response], shown: dict[str, Any], where: str) -> Iterator[str]:
    for name, value in shown.items():
        out = response.fields.get(name)
        if out is None:
            if not (response.has_jobs and name in JOB_FIELDS):
                yield f"{where}.{name} is not declared"
            continue
        kinds = JSON_TYPES[out.kind]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            yield f"{where}.{name} is {value!r}, not a {out.kind}"
        elif out.nested is not None:
            for item in value:
                yield from _object(out.nested, item, f"{where}.{name}")
