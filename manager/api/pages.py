"""The reference in Markdown: a page for each command and each response, and an index by subject."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from manager.api.command import COMMANDS, ApiCommand
from manager.api.fields import Integer, ListOf, MapList, MapOf, Parameter, Ref, Size
from manager.api.response import Out, Response

Example = Mapping[str, Any]
"""What was asked and answered: command, by, method, request, answer, and result where it is a job."""

_JOB = (("jobid", "string", "the job under way on it"), ("jobstatus", "integer", "0: the job is under way"))


def responses() -> dict[str, type[Response]]:
    """Every response that is answered, those inside others included, by its name.

    :raises ValueError: two have the same name
    """
    found: dict[str, type[Response]] = {}
    waiting = [COMMANDS[name].response for name in sorted(COMMANDS)]
    while waiting:
        response = waiting.pop(0)
        known = found.setdefault(response.__name__, response)
        if known is not response:
            raise ValueError(f"Two responses are named {response.__name__}: one page cannot show both.")
        inner = [out.nested for out in response.fields.values() if out.nested is not None]
        waiting += [nested for nested in inner if found.get(nested.__name__) is not nested]
    return dict(sorted(found.items()))


def command_page(api: ApiCommand, examples: Sequence[Example]) -> str:
    parts = [
        f"# {api.name}",
        api.description,
        _facts(api),
        "## Parameters",
        _parameters(api),
        "## Answer",
        _answer(api),
    ]
    for number, example in enumerate(examples):
        title = "## Example" if number == 0 else f"## Example {number + 1}"
        parts += [title, _example(example)]
    return "\n\n".join(parts) + "\n"


def _facts(api: ApiCommand) -> str:
    subject = _subject(api)
    lines = [
        f"- Subject: [{subject}](../index.md#{anchor(subject)})",
        f"- Who may call it by default: {', '.join(api.roles)}",
    ]
    if api.is_async:
        job = "its answer names a job, which [queryAsyncJobResult](queryAsyncJobResult.md) tells about"
        lines.append(f"- Asynchronous: {job}")
    if api.event:
        lines.append(f"- Event: `{api.event}`")
    return "\n".join(lines)


def _parameters(api: ApiCommand) -> str:
    if not api.parameters:
        return "None."
    ordered = sorted(api.parameters.items(), key=lambda item: (not item[1].required, item[0]))
    rows = [
        (f"`{name}`", _type(name, parameter), "yes" if parameter.required else "", _parameter_text(parameter))
        for name, parameter in ordered
    ]
    return _table(("Name", "Type", "Required", "What it is"), rows)


def _type(name: str, parameter: Parameter) -> str:
    if isinstance(parameter, MapOf):
        return f"map: `{name}[0].key=k&{name}[0].value=v`"
    if isinstance(parameter, MapList):
        return f"list of maps: `{name}[0].field=v`"
    if isinstance(parameter, ListOf):
        return f"list of {parameter.inner.type_name}: `{name}=a,b`"
    if isinstance(parameter, Integer) and not isinstance(parameter, Size):
        return f"{parameter.type_name} from {parameter.least}" + (
            f" to {parameter.most}" if parameter.most not in (2**31 - 1, 2**63 - 1) else ""
        )
    if parameter.type_name == "string":
        return f"string, at most {parameter.length} characters"
    return parameter.type_name


def _parameter_text(parameter: Parameter) -> str:
    text = parameter.description
    if parameter.allowed:
        text += f" (one of {', '.join(parameter.allowed)})"
    if parameter.load_default is not None and not parameter.required and not isinstance(parameter, Ref):
        text += f"; default: {str(parameter.load_default).lower()}"
    return text + (f"; only for {', '.join(parameter.roles)}" if parameter.roles else "")


def _answer(api: ApiCommand) -> str:
    link = f"[{api.response.__name__}](../responses/{api.response.__name__}.md)"
    key = f"`{api.object_key}`"
    forms = {
        "list": f"`count`, and {key} with a list of {link}; an empty object where there are none.",
        "object": f"{key} with {link}.",
        "success": f"{link}.",
        "flat": f"The fields of {link}.",
    }
    if not api.is_async:
        return f"Under `{api.wrapper}`: {forms[api.shape]}"
    wanted = "`jobid`, and the new thing's `id`" if api.creates else "`jobid`"
    result = forms["success"] if api.shape == "success" else forms["object"]
    return f"Under `{api.wrapper}`: {wanted}. The job's result: {result}"


def _example(example: Example) -> str:
    who = {"admin": "the root administrator", "tenant": "a user", "nobody": "nobody yet"}.get(
        example["by"], f"`{example['by']}`"
    )
    signing = "" if example["by"] == "nobody" else ", without `apiKey` and `signature`"
    parts = [
        f"As {who} sends it{signing}:",
        f"```\n{example['method']} {example['request']}\n```",
        f"```json\n{_json(example['answer'])}\n```",
    ]
    if "result" in example:
        parts += ["When the job is done, its `jobresult` is:", f"```json\n{_json(example['result'])}\n```"]
    return "\n\n".join(parts)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def response_page(response: type[Response]) -> str:
    fields = sorted(response.fields.items())
    rows = [(f"`{name}`", _kind(out), out.description + _limited(out)) for name, out in fields]
    if response.has_jobs:
        rows += [(f"`{name}`", kind, text) for name, kind, text in _JOB]
    answering = [f"[{n}](../commands/{n}.md)" for n in sorted(COMMANDS) if COMMANDS[n].response is response]
    around = [f"[{n}]({n}.md)" for n, r in responses().items() if any(o.nested is response for o in r.fields.values())]
    parts = [f"# {response.__name__}"]
    parts += [f"Answered by {', '.join(answering)}."] if answering else []
    parts += [f"Inside {', '.join(around)}."] if around else []
    parts.append(_table(("Field", "Type", "What it is"), rows) if rows else "No fields.")
    return "\n\n".join(parts) + "\n"


def _kind(out: Out) -> str:
    return out.kind if out.nested is None else f"{out.kind} of [{out.nested.__name__}]({out.nested.__name__}.md)"


def _limited(out: Out) -> str:
    return "; root administrators only" if out.root_only else ""


def index(guides: Mapping[str, str], decisions: Mapping[str, str]) -> str:
    """The page that leads to all others. Guides and decisions are titles by path."""
    data = "[commands.json](commands.json) and [openapi.json](openapi.json) (OpenAPI 3.1)"
    parts = [
        "# Pileus: the API",
        f"{len(COMMANDS)} commands, in the words of Apache CloudStack 4.22. The same as data: {data}.",
        "## Guides",
        _links(guides),
    ]
    ordered = sorted(COMMANDS.values(), key=lambda api: (_subject(api).lower(), api.name))
    parts.append("## Commands by subject")
    for subject, commands in groupby(ordered, key=_subject):
        rows = [(f"[{api.name}](commands/{api.name}.md)", api.description) for api in commands]
        parts += [f"### {subject}", _table(("Command", "What it does"), rows)]
    parts += ["## Responses", ", ".join(f"[{name}](responses/{name}.md)" for name in responses()) + "."]
    parts += ["## Decisions", _links(decisions)]
    return "\n\n".join(parts) + "\n"


def _links(titles: Mapping[str, str]) -> str:
    return "\n".join(f"- [{title}]({path})" for path, title in sorted(titles.items()))


def anchor(heading: str) -> str:
    """What a link after # names a heading by, as Git hosting sites do."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _subject(api: ApiCommand) -> str:
    """What the module of the handler says that it holds, up to the first stop."""
    module = sys.modules[api.handler.__module__]
    summary = (inspect.getdoc(module) or api.handler.__module__).split("\n")[0]
    return summary.split(":")[0].split(". ")[0].rstrip(".")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
