"""Asynchronous commands: the answer, the job, its result and its steps."""

import pytest

from manager import db
from manager.api.command import COMMANDS, EVERYONE, Request, command
from manager.api.commands.ssh_key import SshKeyPairResponse
from manager.api.fields import Ref
from manager.models import EventRow, SshKeyPair, WorkflowRow
from manager.workflows.ending import end
from manager.workflows.engine import WORKFLOWS, Run, Step, StepFailed, workflow
from tests.client import Caller, Refused


def _work(run: Run) -> None:
    if run.subject(SshKeyPair).name == "bad":
        raise StepFailed("The host has no room.", 533)


class _Turn(Request):
    id = Ref(SshKeyPair, "the key pair", required=True)


@pytest.fixture
def turn():
    """A command of the test's own that starts a workflow of one step."""
    turning = workflow("test.turn", SshKeyPair, [Step(_work)])

    @command("turnSSHKeyPair", _Turn, SshKeyPairResponse, is_async=True, roles=EVERYONE, event="SSH.KEYPAIR.TURN")
    def turn_key(call, id):  # noqa: A002 - CloudStack's name
        """Turn a key."""
        return turning.start(call.session, id, call=call)

    yield turning
    del WORKFLOWS["test.turn"], COMMANDS["turnSSHKeyPair"]


def finish(engine, job_id, status="done", error=None):
    with db.transaction(engine) as session:
        row = session.get_one(WorkflowRow, job_id)
        row.error, row.error_code = error, 533
        row.trace = [
            {"step": "_work", "undoing": False, "state": "done", "attempts": 1, "at": "2026-01-01T00:00:00+00:00"}
        ]
        end(session, row, status)


def test_a_job_from_start_to_result(api, tenant, factory, engine, turn):
    pair = factory(SshKeyPair, account_id=tenant.account.id)
    answer = api("turnSSHKeyPair", tenant, id=pair.id)
    assert list(answer) == ["jobid"]
    job = api("queryAsyncJobResult", tenant, jobid=answer["jobid"])
    assert (job["jobstatus"], job["cmd"], job["jobinstanceid"]) == (0, "turnSSHKeyPair", pair.id)
    assert "jobresult" not in job
    assert api("listJobSteps", tenant, jobid=answer["jobid"])["jobstep"][0]["state"] == "running"
    event = factory.first(EventRow, type="SSH.KEYPAIR.TURN")
    assert (event.state, event.workflow_id, event.resource_id) == ("Scheduled", answer["jobid"], pair.id)
    finish(engine, answer["jobid"])
    job = api("queryAsyncJobResult", tenant, jobid=answer["jobid"])
    assert (job["jobstatus"], job["jobresultcode"], job["jobresult"]["sshkeypair"]["id"]) == (1, 0, pair.id)
    assert factory.first(EventRow, start_number=event.number).level == "INFO"
    assert api("listJobSteps", tenant, jobid=answer["jobid"])["count"] == 1


def test_a_failed_job_tells_why(api, tenant, factory, engine, turn):
    pair = factory(SshKeyPair, account_id=tenant.account.id)
    job_id = api("turnSSHKeyPair", tenant, id=pair.id)["jobid"]
    finish(engine, job_id, "failed", "The host has no room.")
    job = api("queryAsyncJobResult", tenant, jobid=job_id)
    assert (job["jobstatus"], job["jobresultcode"]) == (2, 533)
    assert job["jobresult"] == {"errorcode": 533, "errortext": "The host has no room."}


def test_a_second_job_for_a_busy_thing_is_refused(api, tenant, factory, turn):
    pair = factory(SshKeyPair, account_id=tenant.account.id)
    api("turnSSHKeyPair", tenant, id=pair.id)
    with pytest.raises(Refused, match=r"536 .* is busy"):
        api("turnSSHKeyPair", tenant, id=pair.id)


def test_jobs_belong_to_who_asked(api, tenant, factory, turn):
    job_id = api("turnSSHKeyPair", tenant, id=factory(SshKeyPair, account_id=tenant.account.id).id)["jobid"]
    factory.user("other")
    other = Caller.of(factory.engine, "other")
    with pytest.raises(Refused, match=r"431"):
        api("queryAsyncJobResult", other, jobid=job_id)
    assert api("listAsyncJobs", other, listall=True) == {}
    assert api("listAsyncJobs", tenant)["asyncjobs"][0]["jobid"] == job_id
    assert api("queryAsyncJobResult", jobid=job_id)["account"] == "tenant"
