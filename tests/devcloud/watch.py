"""Waiting for conditions, and what a refused call said."""

import time

import pytest
from cs import CloudStackApiException


def until(what, condition, seconds=60.0):
    """The first true answer of `condition`, which is asked until it gives one."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} seconds"
        time.sleep(0.2)
    return answer


def refused(call, **parameters):
    """Code and text of a call, or of the job that it starts, which must fail."""
    with pytest.raises(CloudStackApiException) as caught:
        call(fetch_result=True, **parameters)
    return caught.value.error["errorcode"], caught.value.error["errortext"]


def job_result(client, started):
    """What the job of an asynchronous answer came to; it must succeed."""
    job = until("the job", lambda: _ended(client, started["jobid"]), 120)
    assert job["jobstatus"] == 1, job["jobresult"]
    return job["jobresult"]


def _ended(client, job_id):
    job = client.queryAsyncJobResult(jobid=job_id)
    return job if job["jobstatus"] else None
