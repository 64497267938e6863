"""The workflow that runs a tool in a router and keeps what it said."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from agents.inquiry import DiagnoseRouter
from manager.models import Host, Router, WorkflowRow
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, workflow
from network.diagnostics import Tool, ToolOutput


def run_tool(run: Run) -> Outcome:
    router = run.subject(Router)
    host = run.session.get(Host, router.host_id) if router.host_id else None
    if host is None or router.state != "Running":
        raise StepFailed(f"The router {router.name} is {router.state}, so nothing can be run in it.", 431)
    if host.state != "Up" or host.agent_id is None:
        raise StepFailed(f"The host {host.name} of router {router.name} is {host.state}, so it cannot be asked.", 534)
    given = run.arguments
    command = DiagnoseRouter(router.id, given["tool"], given["address"], tuple(given["options"]))
    return [Ask(host.agent_id, command)]


def keep_output(run: Run, answers: list[Any]) -> None:
    said: ToolOutput = answers[0]
    run.note(stdout=said.stdout, stderr=said.stderr, exitcode=said.exit_code)


diagnose_router = workflow(
    "router.diagnose", Router, [Step(run_tool, then=keep_output)], lane="diagnosis", awaited=True
)


def diagnose(
    session: Session, router: Router, tool: Tool, address: str, options: tuple[str, ...], *, call: Any
) -> WorkflowRow:
    """Start the job; its answer lies in its own memory."""
    given = {"tool": tool, "address": address, "options": list(options)}
    job = diagnose_router.start(session, router, call=call, **given)
    job.memory = {"result_id": job.id}
    return job
