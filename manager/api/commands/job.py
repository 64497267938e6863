"""Asynchronous jobs: workflows as the API shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api import record
from manager.api.call import Call
from manager.api.command import COMMANDS, EVERYONE, OwnerListRequest, Page, Request, command
from manager.api.fields import Date, Ref
from manager.api.response import Int, Map, Response, Shown, Str, When
from manager.models import Account, Base, Domain, WorkflowRow

RUNNING, DONE, FAILED = 0, 1, 2
_STATUS = {"running": RUNNING, "done": DONE}


class JobResponse(Response):
    object_key = "asyncjobs"
    shows = WorkflowRow
    accountid = Str("the id of the account that asked for it")
    account = Str("the account that asked for it")
    domainid = Str("the id of that account's domain")
    domainpath = Str("the path of that account's domain")
    userid = Str("the id of the user that asked for it")
    cmd = Str("the command")
    jobstatus = Int("0 while it runs, 1 when it is done, 2 when it failed")
    jobprocstatus = Int("always 0")
    jobresultcode = Int("0, or the error code of a job that failed")
    jobresulttype = Str("object, once the job has ended")
    jobresult = Map("the answer of the command, or errorcode and errortext")
    jobinstancetype = Str("the kind of thing it is about")
    jobinstanceid = Str("the id of the thing it is about")
    created = When("when it was asked for")
    completed = When("when it ended")
    jobid = Str("its id")

    @classmethod
    def render(cls, call: Call, rows: Sequence[WorkflowRow]) -> list[Shown]:
        owners = _owners(call, rows)
        results = _results(call, rows)
        return [_describe(row, owners.get(row.account_id), results.get(row.id)) for row in rows]


def _owners(call: Call, rows: Sequence[WorkflowRow]) -> dict[str | None, tuple[Account, Domain]]:
    ids = {row.account_id for row in rows}
    query = select(Account, Domain).join(Domain, Domain.id == Account.domain_id).where(Account.id.in_(ids))
    return {account.id: (account, domain) for account, domain in call.session.execute(query)}


def _models() -> dict[str, type[Any]]:
    return {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers if mapper.inherits is None}


def _results(call: Call, rows: Sequence[WorkflowRow]) -> dict[str, Shown]:
    """The jobresult of each job that has ended, in as many statements as there are kinds of answers."""
    results: dict[str, Shown] = {}
    groups: dict[str, list[WorkflowRow]] = {}
    for row in rows:
        if row.status == "done":
            groups.setdefault(row.command, []).append(row)
        elif row.status != "running":
            results[row.id] = {"errorcode": row.error_code, "errortext": row.error or "The job failed."}
    for name, group in groups.items():
        api = COMMANDS.get(name)
        if api is None or api.shape == "success" or api.response.shows is None:
            results |= {row.id: {"success": True} for row in group}
            continue
        shown = _rendered(call, api.response, [str(row.memory.get("result_id", row.subject_id)) for row in group])
        for row in group:
            found = shown.get(str(row.memory.get("result_id", row.subject_id)))
            results[row.id] = {api.object_key: found} if found is not None else {"success": True}
    return results


def _rendered(call: Call, response: type[Response], ids: list[str]) -> dict[str, Shown]:
    model: Any = response.shows
    things = list(call.session.scalars(select(model).where(model.id.in_(ids))))
    return {thing.id: shown for thing, shown in zip(things, response.shown(call, things), strict=True)}


def _describe(row: WorkflowRow, owner: tuple[Account, Domain] | None, result: Shown | None) -> Shown:
    status = _STATUS.get(row.status, FAILED)
    account, domain = owner or (None, None)
    model = _models().get(row.subject_type)
    return {
        "accountid": row.account_id,
        "account": account.name if account else None,
        "domainid": domain.id if domain else None,
        "domainpath": domain.shown_path if domain else None,
        "userid": row.user_id,
        "cmd": row.command or row.name,
        "jobstatus": status,
        "jobprocstatus": 0,
        "jobresultcode": row.error_code if status == FAILED else 0,
        "jobresulttype": "object" if result is not None else None,
        "jobresult": result,
        "jobinstancetype": record.resource_type(model) if model else None,
        "jobinstanceid": row.subject_id,
        "created": row.created,
        "completed": row.ended,
        "jobid": row.id,
    }


class QueryJob(Request):
    jobid = Ref(WorkflowRow, "the job", required=True)


@command("queryAsyncJobResult", QueryJob, JobResponse, roles=EVERYONE, shape="flat")
def query_async_job_result(_call: Call, jobid: WorkflowRow) -> WorkflowRow:
    """Tell how a job stands and, once it has ended, what came of it."""
    return jobid


class ListJobs(OwnerListRequest):
    startdate = Date("only jobs from this time on")


@command("listAsyncJobs", ListJobs, JobResponse, roles=EVERYONE)
def list_async_jobs(call: Call, keyword: str | None, startdate: dt.datetime | None) -> Page:
    """List jobs that have not ended, and those that ended lately."""
    query = select(WorkflowRow).where(access.visible(call, WorkflowRow), WorkflowRow.command != "")
    if keyword:
        query = query.where(WorkflowRow.command.contains(keyword, autoescape=True))
    if startdate is not None:
        query = query.where(WorkflowRow.created >= startdate)
    return call.paged(query.order_by(WorkflowRow.created.desc(), WorkflowRow.id))


class JobStepResponse(Response):
    object_key = "jobstep"
    number = Int("its place in the job, from 1")
    name = Str("what it does")
    state = Str("done, failed, waiting or running")
    undoing = Str("true for a step that is taken back")
    attempts = Int("how often it was tried")
    reason = Str("why it failed")
    at = When("when it came to this state")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


class ListJobSteps(Request):
    jobid = Ref(WorkflowRow, "the job", required=True)


@command("listJobSteps", ListJobSteps, JobStepResponse, roles=EVERYONE)
def list_job_steps(_call: Call, jobid: WorkflowRow) -> Page:
    """List the steps that a job has taken, in order, and the one where it stands."""
    rows = [
        {
            "number": number,
            "name": entry["step"],
            "state": entry["state"],
            "undoing": str(entry["undoing"]).lower(),
            "attempts": entry.get("attempts", 1),
            "reason": entry.get("reason"),
            "at": dt.datetime.fromisoformat(entry["at"]),
        }
        for number, entry in enumerate(jobid.trace, 1)
    ]
    if jobid.status == "running":
        state = "waiting" if jobid.asked or jobid.waiting_for else "running"
        rows.append({**_present(jobid), "number": len(rows) + 1, "state": state})
    return Page(rows, len(rows))


def _present(job: WorkflowRow) -> Shown:
    from manager.workflows.engine import WORKFLOWS

    workflow = WORKFLOWS.get(job.name)
    steps = workflow.steps if workflow else ()
    name = steps[job.position].name if 0 <= job.position < len(steps) else job.name
    return {"name": name, "undoing": str(job.undoing).lower(), "attempts": job.attempts + 1}
