"""Tools that administrators run in routers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manager.api.call import Call
from manager.api.command import ROOT, Request, command
from manager.api.commands import ipv4
from manager.api.errors import Invalid
from manager.api.fields import Choice, Ref, Text
from manager.api.response import Response, Shown, Str
from manager.models import Router, WorkflowRow
from manager.workflows.diagnosis import diagnose
from network.diagnostics import NAMES, UnsuitableOptionError, options_in


class DiagnosticsResponse(Response):
    """The answer lies in the memory of the job that found it."""

    object_key = "diagnostics"
    shows = WorkflowRow
    stdout = Str("what the tool wrote to its standard output")
    stderr = Str("what it wrote to its standard error")
    exitcode = Str("its exit code")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:  # noqa: ARG003 - the base's form
        return [
            {"stdout": row.memory.get("stdout"), "stderr": row.memory.get("stderr"),
             "exitcode": str(row.memory.get("exitcode"))}
            for row in rows
        ]  # fmt: skip


class RunDiagnostics(Request):
    targetid = Ref(Router, "the router that runs it", required=True)
    ipaddress = Text("the IPv4 address that it is run towards", required=True)
    type = Choice("the tool", NAMES, required=True)
    params = Text("options of the tool, as on its command line", max_length=200)


@command("runDiagnostics", RunDiagnostics, DiagnosticsResponse, is_async=True, roles=ROOT,
         event="SYSTEM.VM.DIAGNOSTICS")  # fmt: skip
def run_diagnostics(call: Call, targetid: Router, ipaddress: str, type: Any, params: str | None) -> WorkflowRow:
    """Run ping, traceroute or arping in a router, and show what it said."""
    address = str(ipv4.address("ipaddress", ipaddress))
    try:
        options = options_in(type, params or "")
    except UnsuitableOptionError as error:
        raise Invalid(str(error)) from error
    return diagnose(call.session, targetid, type, address, options, call=call)
