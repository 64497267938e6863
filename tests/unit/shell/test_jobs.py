"""Jobs: waiting, their steps on the screen, detaching and coming back, how they end."""

import json
import threading
import time

import pytest

from tests.unit.api.live_cloud import live_cloud
from tests.unit.shell.conftest import use
from ui.shell import jobs

VM = "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a001"
JOB = "0b3f0a86-5b36-4bd1-a50a-2f7ac1d1a0ff"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jobs, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def live(factory, tmp_path, served, monkeypatch):
    """The real application, with workers that carry its jobs on."""
    cloud, user = live_cloud(factory, tmp_path)
    use(monkeypatch, served, user.key, user.secret)
    ended = threading.Event()

    def work():
        while not ended.wait(0.05):
            cloud.settle()

    worker = threading.Thread(target=work)
    worker.start()
    yield cloud
    ended.set()
    worker.join()


def deploy(cloud, name):
    given = {"zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id}
    words = [f"{key}={value}" for key, value in {**given, "networkids": cloud.network_id, "name": name}.items()]
    return ["deploy", "virtualmachine", *words]


def test_real_jobs_are_waited_for(live, pileus):
    done = pileus(*deploy(live, "web"))
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["virtualmachine"]["state"] == "Running"
    started = pileus("stop", "vm", "id=web", "forced=true", "--no-block", "-o", "id")
    assert started.code == 0
    done = pileus("wait", started.out.strip(), "-o", "json")
    assert json.loads(done.out)["virtualmachine"]["state"] == "Stopped"
    assert pileus("jobs", "-o", "json").out == "{}\n"


def test_steps_of_a_real_job_are_shown(live, terminal):
    shell, out, err = terminal()
    assert shell.run(" ".join(deploy(live, "web"))) == 0
    lines = [line.rpartition("\x1b[K")[2] for line in err.getvalue().splitlines()]
    assert lines[0].startswith("Reading the commands of")
    steps = [line for line in lines if line.startswith("  ✓ ")]
    assert len(steps) >= 3
    assert any(line.startswith("deployVirtualMachine  job ") for line in lines)
    assert "state " in out.getvalue()
    assert lines[-1].endswith("more fields: -c '*'")
    shell.close()


def test_failed_job_tells_why_each_host_could_not(live, terminal, api):
    shell, _, err = terminal()
    for host in api("listHosts", type="Routing")["host"]:
        api("updateHost", id=host["id"], allocationstate="Disable")
    assert shell.run(" ".join(deploy(live, "web"))) in (1, 4)
    text = err.getvalue()
    shell.close()
    assert "pileus: " in text
    assert "(533)" in text
    assert "resource state" in text.lower()


@pytest.fixture
def stopping(foreign):
    """A cloud where starting a VM gives a job; `result` is what is told of it."""
    result = {"jobstatus": 0, "jobid": JOB}
    foreign.replies["startVirtualMachine"] = {"jobid": JOB}
    foreign.replies["queryAsyncJobResult"] = lambda _: dict(result)
    return result


def test_failed_job_has_its_own_code(stopping, pileus):
    stopping |= {
        "jobstatus": 2,
        "jobresultcode": 530,
        "jobresult": {"errorcode": 530, "errortext": "The disk is full."},
    }
    done = pileus("start", "vm", f"id={VM}")
    assert (done.code, done.out, done.err) == (4, "", "pileus: The disk is full. (530)\n")


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"virtualmachine": {"id": VM}}, {"virtualmachine": {"id": VM}}),
        ({"success": True}, {"success": True}),
        ({}, {"success": True}),
    ],
)
def test_what_a_job_gave(stopping, pileus, result, shown):
    stopping |= {"jobstatus": 1, "jobresult": result}
    assert json.loads(pileus("start", "vm", f"id={VM}").out) == shown


def test_waiting_ends_after_the_time_that_was_given(stopping, pileus):
    done = pileus("start", "vm", f"id={VM}", "--timeout", "0.3")
    assert (done.code, done.out) == (5, "")
    assert f"pileus wait {JOB}" in done.err


def test_a_server_that_is_away_for_a_moment_does_not_end_the_waiting(stopping, foreign, pileus):
    answers = iter([(502, "<html>Bad Gateway</html>"), (502, "no"), {"jobstatus": 1, "jobresult": {"success": True}}])
    foreign.replies["queryAsyncJobResult"] = lambda _: next(answers)
    assert pileus("start", "vm", f"id={VM}").code == 0


def test_interrupted_waiting_leaves_the_job_and_tells_how_to_come_back(stopping, foreign, terminal, monkeypatch):
    shell, out, err = terminal()

    def interrupt(_seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", interrupt)
        assert shell.run(f"start vm id={VM}") == 130
    assert f"The job {JOB} goes on." in err.getvalue()
    assert shell.detached == [JOB]
    stopping |= {"jobstatus": 1, "jobresult": {"success": True}}
    assert shell.run(f"wait {JOB}") == 0
    assert out.getvalue() == "done\n"
    assert shell.detached == []
    shell.close()


def test_jobs_that_run_are_listed(foreign, pileus):
    foreign.replies["listAsyncJobs"] = {
        "count": 2,
        "asyncjobs": [{"jobid": "1", "jobstatus": 1, "cmd": "x"}, {"jobid": "2", "jobstatus": 0, "cmd": "y"}],
    }
    assert pileus("jobs", "-o", "csv").out == "jobid,cmd,jobstatus\n2,y,running\n"


def test_a_setting_keeps_commands_from_waiting(stopping, pileus):
    assert pileus("set", "block=false").code == 0
    assert json.loads(pileus("start", "vm", f"id={VM}").out) == {"jobid": JOB}


@pytest.mark.parametrize("words", [["wait"], ["wait", "web"], ["wait", VM, VM]])
def test_what_wait_takes(foreign, pileus, words):
    assert pileus(*words).code == 2
