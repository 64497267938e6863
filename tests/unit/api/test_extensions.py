"""Extensions and custom actions: who may do what, what is told and shown, and that no program is run twice unasked."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from manager import db, orchestrator
from manager.config import settings
from manager.models import ActionRun, Cluster, EventRow, Extension, Host, Vm, WorkflowRow
from manager.workflows import engine as workflows
from manager.workflows import extensions
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import statements

SERVER = "server-1"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """The directory of extensions, with a program that tells what it was given."""
    place = tmp_path / "extensions"
    place.mkdir(mode=0o755)
    monkeypatch.setenv("PILEUS_EXTENSIONS_DIRECTORY", str(place))
    settings.cache_clear()
    write(place, 'cat "$2"')
    yield place
    monkeypatch.undo()
    settings.cache_clear()


def write(place, text, name="tool"):
    (place / name).write_text("#!/bin/sh\n" + text)
    (place / name).chmod(0o755)


@pytest.fixture
def vm(factory, tenant):
    host = factory(Host)
    return factory(Vm, account_id=tenant.account.id, zone_id=host.zone_id, host_id=host.id, state="Running")


def extension(api, name="ext", **more):
    return api("createExtension", name=name, type="Orchestrator", path="tool", **more)["extension"]


def action(api, made, **more):
    given = {"name": "snap", "enabled": "true", "allowedroletypes": "User", "timeout": "20", **more}
    return api("addCustomAction", extensionid=made["id"], **given)["extensioncustomaction"]


def register(api, factory, made, vm):
    cluster_id = factory.first(Host, id=vm.host_id).cluster_id
    where = {"resourceid": cluster_id, "resourcetype": "Cluster"}
    return api("registerExtension", extensionid=made["id"], **where)["extension"], where


@pytest.fixture
def snap(api, factory, directory, vm):
    """An action that the tenant may run on its VM."""
    made = extension(api)
    register(api, factory, made, vm)
    return action(api, made, params={"parameters[0].name": "n", "parameters[0].type": "NUMBER"})


def ask(api, caller, snap, vm, **more):
    given = {"customactionid": snap["id"], "resourceid": vm.id, **more}
    return api("runCustomAction", caller, **given)["jobid"]


def ended(api, caller, job):
    for _ in range(4):
        workflows.advance(job)
    return api("queryAsyncJobResult", caller, jobid=job)


def outcome(api, caller, job):
    answer = ended(api, caller, job)
    assert answer["jobstatus"] == 1, answer
    return answer["jobresult"]["customactionresult"]


def make_due(engine):
    with db.transaction(engine) as session:
        session.execute(update(ActionRun).values(due_at=0))


def test_an_extension_is_made_known_changed_and_removed(api, directory):
    made = extension(api, description="d", params={"details[0].url": "https://pve"})
    assert (made["name"], made["type"], made["path"], made["state"]) == ("ext", "Orchestrator", "tool", "Enabled")
    assert (made["pathready"], made["isuserdefined"], made["details"]) == (True, True, {"url": "https://pve"})
    with pytest.raises(Refused, match="already"):
        extension(api, name="EXT")
    changed = api(
        "updateExtension", id=made["id"], state="Disabled", params={"details[0].key": "a", "details[0].value": "b"}
    )
    assert (changed["extension"]["state"], changed["extension"]["details"]) == ("Disabled", {"a": "b"})
    assert api("updateExtension", id=made["id"], cleanupdetails="true")["extension"]["details"] == {}
    assert api("listExtensions", name="ext")["count"] == 1
    assert api("deleteExtension", id=made["id"])["success"] is True
    assert api("listExtensions").get("count", 0) == 0
    assert (directory / "tool").exists()
    assert extension(api)["id"] != made["id"]


@pytest.mark.parametrize("path", ["../tool", "/bin/sh", "a/../tool"])
def test_a_path_outside_is_refused(api, directory, path):
    with pytest.raises(Refused, match="relative to the directory of extensions") as refusal:
        api("createExtension", name="x", type="Orchestrator", path=path)
    assert refusal.value.code == 431


def test_what_others_can_write_is_refused_and_not_run(api, tenant, engine, directory, vm, snap):
    (directory / "tool").chmod(0o777)
    with pytest.raises(Refused, match="written by others than root"):
        extension(api, name="second")
    assert api("listExtensions")["extension"][0]["pathready"] is False
    job = ask(api, tenant, snap, vm)
    assert extensions.run_next(SERVER) is False
    make_due(engine)
    answer = ended(api, tenant, job)
    assert (answer["jobstatus"], answer["jobresultcode"]) == (2, 530)
    assert "No management server could begin" in answer["jobresult"]["errortext"]
    assert "written by others than root" in answer["jobresult"]["errortext"]
    (directory / "tool").chmod(0o755)
    assert extensions.run_next(SERVER) is False, "a job that failed is not run later"


def test_a_program_is_ready_where_all_servers_have_it(api, directory, engine):
    made = extension(api)
    extensions.look_at_programs("server-1")
    assert api("listExtensions", id=made["id"])["extension"][0]["pathready"] is True
    (directory / "tool").unlink()
    extensions.look_at_programs("server-2")
    assert api("listExtensions", id=made["id"])["extension"][0]["pathready"] is False
    write(directory, "true")
    extensions.look_at_programs("server-2")
    assert api("listExtensions", id=made["id"])["extension"][0]["pathready"] is True
    api("deleteExtension", id=made["id"])
    extensions.look_at_programs("server-1")
    extensions.look_at_programs("server-2")
    with db.transaction(engine) as session:
        assert session.query(extensions.ExtensionSight).count() == 0


def test_an_extension_is_registered_with_clusters_only(api, factory, directory, vm):
    made = extension(api)
    shown, where = register(api, factory, made, vm)
    assert [(r["id"], r["type"]) for r in shown["resources"]] == [(where["resourceid"], "Cluster")]
    with pytest.raises(Refused, match="is registered"):
        register(api, factory, made, vm)
    with pytest.raises(Refused, match="clusters only, not with a PhysicalNetwork"):
        api("registerExtension", extensionid=made["id"], resourceid=where["resourceid"], resourcetype="PhysicalNetwork")
    with pytest.raises(Refused, match="unregister it there first"):
        api("deleteExtension", id=made["id"])
    assert api("unregisterExtension", extensionid=made["id"], **where)["extension"]["resources"] == []
    with pytest.raises(Refused, match="is not registered"):
        api("unregisterExtension", extensionid=made["id"], **where)
    api("deleteExtension", id=made["id"])


def test_extensions_are_shown_in_a_fixed_number_of_statements(api, factory, directory, engine, vm):
    counts = []
    for more in (1, 4):
        for number in range(more):
            register(api, factory, extension(api, name=f"e{more}{number}"), vm)
        with statements(engine) as sent:
            api("listExtensions")
        counts.append(len(sent))
    assert counts[0] == counts[1]


def test_an_action_is_declared_changed_and_removed(api, directory):
    made = extension(api)
    declared = {
        "parameters[0].name": "size", "parameters[0].type": "number", "parameters[0].required": "true",
        "parameters[0].valueoptions": "1, 2", "parameters[1].name": "mail", "parameters[1].validationformat": "EMAIL",
    }  # fmt: skip
    shown = action(api, made, timeout="9", successmessage="ok", errormessage="no", params=declared)
    assert (shown["extensionid"], shown["extensionname"], shown["timeout"]) == (made["id"], "ext", 9)
    assert (shown["allowedroletypes"], shown["resourcetype"]) == (["Admin", "User"], "VirtualMachine")
    assert shown["parameters"] == [
        {"name": "size", "type": "NUMBER", "validationformat": "NONE", "required": True, "valueoptions": [1, 2]},
        {"name": "mail", "type": "STRING", "validationformat": "EMAIL", "required": False, "valueoptions": []},
    ]
    with pytest.raises(Refused, match="already"):
        action(api, made)
    changed = api("updateCustomAction", id=shown["id"], enabled="false", cleanupparameters="true", timeout="3")
    changed = changed["extensioncustomaction"]
    assert (changed["enabled"], changed["parameters"], changed["timeout"]) == (False, [], 3)
    assert api("deleteCustomAction", id=shown["id"])["success"] is True
    assert api("listCustomActions").get("count", 0) == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"parameters[0].type": "STRING"}, "name"),
        ({"parameters[0].name": "a", "parameters[0].type": "MAP"}, "none of STRING"),
        ({"parameters[0].name": "a", "parameters[0].type": "DATE", "parameters[0].validationformat": "URL"}, "format"),
        (
            {"parameters[0].name": "a", "parameters[0].type": "NUMBER", "parameters[0].valueoptions": "x"},
            "whole number",
        ),
        ({"parameters[0].name": "a", "parameters[1].name": "a"}, "two parameters"),
        ({"parameters[0].name": "a", "parameters[0].secret": "x"}, "no secret"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(api, directory, given, reason):
    with pytest.raises(Refused, match=reason) as refusal:
        action(api, extension(api), params=given)
    assert refusal.value.code == 431
    assert api("listCustomActions").get("count", 0) == 0


@pytest.mark.parametrize(
    "case",
    [
        ("NUMBER", "NONE", "-3", -3, "3.5"),
        ("NUMBER", "DECIMAL", "3.5", 3.5, "x"),
        ("BOOLEAN", "NONE", "TRUE", True, "yes"),
        ("UUID", "NONE", "6F1C1D5E-2F0B-5E0A-9D4C-7B3F6A1E8C42", "6f1c1d5e-2f0b-5e0a-9d4c-7b3f6a1e8c42", "6f"),
        ("STRING", "UUID", "6f1c1d5e-2f0b-5e0a-9d4c-7b3f6a1e8c42", "6f1c1d5e-2f0b-5e0a-9d4c-7b3f6a1e8c42", "6f"),
        ("DATE", "NONE", "2026-01-31", "2026-01-31T00:00:00+00:00", "31.1."),
        ("STRING", "EMAIL", "a@b.cd", "a@b.cd", "a@b"),
        ("STRING", "URL", "https://a/b", "https://a/b", "file:///a"),
        ("STRING", "NONE", "$(reboot)", "$(reboot)", None),
    ],
)
@pytest.mark.usefixtures("directory")
def test_values_are_of_their_types(api, tenant, factory, vm, case):
    kind, form, good, read, bad = case
    made = extension(api)
    register(api, factory, made, vm)
    declared = {"parameters[0].name": "p", "parameters[0].type": kind, "parameters[0].validationformat": form}
    typed = action(api, made, params={**declared, "parameters[0].required": "true"})
    if bad is not None:
        with pytest.raises(Refused, match="value of the parameter p is not"):
            ask(api, tenant, typed, vm, params={"parameters[0].p": bad})
    for given, reason in ((None, "needs a value"), ({"parameters[0].q": "1"}, "no parameter q")):
        with pytest.raises(Refused, match=reason):
            ask(api, tenant, typed, vm, params=given or {})
    ask(api, tenant, typed, vm, params={"parameters[0].p": good})
    (row,) = runs(api)
    assert row.payload["parameters"] == {"p": read}


def runs(api):
    with db.transaction() as session:
        return session.query(ActionRun).all()


def test_the_program_is_told_what_the_caller_sees_without_secrets(api, tenant, factory, engine, vm, snap):
    factory.change(
        vm, password="s3cret-pass", user_data="c2VjcmV0", details={"rootpassword": "s3cret", "colour": "red"}
    )
    api("updateCustomAction", id=snap["id"], successmessage="{{actionName}} of {{resourceName}} by {{extensionName}}")
    job = ask(api, tenant, snap, vm, params={"parameters[0].n": "4711"})
    assert extensions.run_next(SERVER) is True
    shown = outcome(api, tenant, job)
    assert (shown["id"], shown["name"], shown["success"]) == (snap["id"], "snap", True)
    assert shown["result"]["message"] == "snap of a vm by ext"
    payload = json.loads(shown["result"]["details"])
    assert payload["virtualmachineid"] == payload["cloudstack.vm.details"]["id"] == vm.id
    assert payload["parameters"] == {"n": 4711}
    assert (payload["caller"]["id"], payload["caller"]["roletype"]) == (tenant.user.id, "User")
    assert payload["externaldetails"] == {"extension": {}, "cluster": {}, "customaction": {}}
    assert payload["cloudstack.vm.details"]["details"] == {"rootpassword": "(hidden)", "colour": "red"}
    assert "hostid" not in payload["cloudstack.vm.details"]
    assert "s3cret" not in shown["result"]["details"]
    assert "c2VjcmV0" not in shown["result"]["details"]
    with db.transaction(engine) as session:
        told = [str(event.parameters) for event in session.query(EventRow).filter_by(type="CUSTOM.ACTION")]
    assert any("parameters[0].n" in text for text in told)
    assert not any("4711" in text for text in told)


def test_a_message_to_print_is_passed_on(api, tenant, directory, vm, snap):
    write(directory, """echo '{"printmessage": true, "message": [1]}'""")
    job = ask(api, tenant, snap, vm)
    extensions.run_next(SERVER)
    result = outcome(api, tenant, job)["result"]
    assert result["printmessage"] == "true"
    assert json.loads(result["details"])["message"] == [1]


def test_output_that_is_nested_without_end_is_a_text(api, tenant, directory, vm, snap):
    write(directory, "head -c 60000 /dev/zero | tr '\\0' '['")
    job = ask(api, tenant, snap, vm)
    extensions.run_next(SERVER)
    assert outcome(api, tenant, job)["result"]["details"] == "[" * 60000


def test_orchestrators_run_several_at_once(api, tenant, directory, vm, snap):
    write(directory, PROGRAM.format(directory))
    jobs = [ask(api, tenant, snap, vm) for _ in range(orchestrator.ACTION_RUNNERS + 1)]
    stop = threading.Event()
    duty = threading.Thread(target=orchestrator.keep_running_actions, args=(stop,), daemon=True)
    duty.start()
    until = time.monotonic() + 30
    while sum(row.status == "running" for row in runs(api)) < orchestrator.ACTION_RUNNERS and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(2 * orchestrator.ACTION_SECONDS)
    assert sorted(row.status for row in runs(api)) == ["open", *["running"] * orchestrator.ACTION_RUNNERS]
    (directory / "go").touch()
    while any(row.status != "done" for row in runs(api)) and time.monotonic() < until:
        time.sleep(0.05)
    stop.set()
    duty.join()
    assert [outcome(api, tenant, job)["success"] for job in jobs] == [True] * len(jobs)


def test_a_failure_is_told_in_the_result(api, tenant, admin, directory, vm, snap):
    write(directory, "echo inside >&2; exit 9")
    job = ask(api, tenant, snap, vm)
    extensions.run_next(SERVER)
    shown = outcome(api, tenant, job)
    assert shown["success"] is False
    assert shown["result"] == {"message": "Failed to complete snap", "details": "The program ended with exit code 9."}
    assert "inside" in outcome(api, admin, job)["result"]["details"]


def test_a_timeout_is_told_in_the_result(api, tenant, directory, vm, snap):
    write(directory, "sleep 60")
    api("updateCustomAction", id=snap["id"], timeout="1")
    job = ask(api, tenant, snap, vm)
    extensions.run_next(SERVER)
    shown = outcome(api, tenant, job)
    assert shown["success"] is False
    assert "did not end within 1 s" in shown["result"]["details"]


def test_who_may_run_what_on_what(api, tenant, factory, engine, vm, snap):
    stranger = Caller.of(engine, factory.user("stranger").username)
    with pytest.raises(Refused, match="resourceid"):
        ask(api, stranger, snap, vm)
    assert api("listCustomActions", tenant)["count"] == 1
    assert api("listCustomActions", tenant, extensionid=snap["extensionid"])["count"] == 1
    assert "details" not in api("listCustomActions", tenant)["extensioncustomaction"][0]
    for change, back in (
        (("updateCustomAction", snap["id"], {"enabled": "false"}), {"enabled": "true"}),
        (("updateCustomAction", snap["id"], {"allowedroletypes": "DomainAdmin"}), {"allowedroletypes": "User"}),
        (("updateExtension", snap["extensionid"], {"state": "Disabled"}), {"state": "Enabled"}),
    ):
        command, identifier, given = change
        api(command, id=identifier, **given)
        assert api("listCustomActions", tenant).get("count", 0) == 0
        with pytest.raises(Refused, match="customactionid"):
            ask(api, tenant, snap, vm)
        api(command, id=identifier, **back)
        assert api("listCustomActions", tenant)["count"] == 1
    for command in ("addCustomAction", "updateCustomAction", "createExtension", "listExtensions", "registerExtension"):
        with pytest.raises(Refused):
            api(command, tenant)
    assert runs(api) == []


def test_an_action_runs_in_registered_clusters_only(api, tenant, factory, directory, vm, snap):
    other = factory(Host)
    elsewhere = factory(Vm, account_id=tenant.account.id, zone_id=vm.zone_id, host_id=other.id)
    assert api("listCustomActions", tenant, resourceid=vm.id)["count"] == 1
    assert api("listCustomActions", tenant, resourceid=elsewhere.id).get("count", 0) == 0
    with pytest.raises(Refused, match="is not registered with the cluster"):
        ask(api, tenant, snap, elsewhere)
    never_ran = factory(Vm, account_id=tenant.account.id, zone_id=factory.first(Cluster).zone_id)
    cluster = factory.first(Host, id=vm.host_id).cluster_id
    factory.change(never_ran, zone_id=factory.first(Cluster, id=cluster).zone_id)
    ask(api, tenant, snap, never_ran)


def test_two_servers_run_it_once(api, tenant, directory, vm, snap):
    write(directory, f"echo x >>{directory}/ran")
    job = ask(api, tenant, snap, vm)
    assert [extensions.run_next(name) for name in ("server-1", "server-2")] == [True, False]
    workflows.advance(job)
    assert extensions.run_next("server-2") is False
    assert outcome(api, tenant, job)["success"] is True
    assert (directory / "ran").read_text() == "x\n"


def killed_while_it_runs(engine, directory):
    """A management server of its own process is killed by force as soon as the program is there."""
    (directory / "began").unlink(missing_ok=True)
    text = "from manager.workflows.extensions import run_next; run_next('server-9')"
    here = {**os.environ, "PILEUS_DATABASE_URL": engine.url.render_as_string(hide_password=False)}
    server = subprocess.Popen([sys.executable, "-c", text], cwd=Path(__file__).parents[3], env=here)
    until = time.monotonic() + 30
    while not (directory / "began").exists() and time.monotonic() < until:
        time.sleep(0.05)
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert (directory / "began").exists()


PROGRAM = "echo x >>{0}/ran; touch {0}/began; while [ ! -e {0}/go ]; do sleep 0.1; done; echo done >>{0}/ran"


def test_what_a_killed_server_ran_is_not_run_again(api, tenant, engine, directory, vm, snap):
    write(directory, PROGRAM.format(directory))
    job = ask(api, tenant, snap, vm)
    killed_while_it_runs(engine, directory)
    workflows.advance(job)
    assert api("queryAsyncJobResult", tenant, jobid=job)["jobstatus"] == 0
    assert extensions.run_next(SERVER) is False
    make_due(engine)
    answer = ended(api, tenant, job)
    assert answer["jobstatus"] == 2
    assert "It is not known whether the program of the action snap did its work" in answer["jobresult"]["errortext"]
    assert "server-9" in answer["jobresult"]["errortext"]
    (directory / "go").touch()
    assert extensions.run_next(SERVER) is False
    time.sleep(0.3)
    assert (directory / "ran").read_text() == "x\n", "the program was killed with its server"
    with db.transaction(engine) as session:
        assert session.get(WorkflowRow, job).status == "failed"


def test_a_repeatable_action_is_run_again(api, tenant, engine, directory, vm, snap):
    api("updateCustomAction", id=snap["id"], params={"details[0].repeatable": "true"})
    write(directory, PROGRAM.format(directory))
    job = ask(api, tenant, snap, vm)
    killed_while_it_runs(engine, directory)
    make_due(engine)
    workflows.advance(job)
    (directory / "go").touch()
    assert extensions.run_next(SERVER) is True
    assert outcome(api, tenant, job)["success"] is True
    assert (directory / "ran").read_text() == "x\nx\ndone\n"


def test_a_cancelled_job_is_not_begun(api, tenant, engine, directory, vm, snap):
    job = ask(api, tenant, snap, vm)
    with db.transaction(engine) as session:
        session.get(WorkflowRow, job).cancelled = True
    assert ended(api, tenant, job)["jobresult"]["errortext"] == "The job was cancelled."
    assert extensions.run_next(SERVER) is False


def test_old_runs_are_forgotten_after_their_jobs(api, tenant, engine, directory, vm, snap):
    job = ask(api, tenant, snap, vm)
    extensions.run_next(SERVER)
    outcome(api, tenant, job)
    api("updateConfiguration", name="job.expire.minutes", value="1")
    with db.transaction(engine) as session:
        session.execute(update(ActionRun).values(ended=extensions.utcnow() - extensions.dt.timedelta(hours=1)))
    extensions.forget_runs()
    assert len(runs(api)) == 1
    with db.transaction(engine) as session:
        session.query(WorkflowRow).delete()
    extensions.forget_runs()
    assert runs(api) == []


def test_details_are_sealed_in_the_database(api, engine, directory):
    made = extension(api, params={"details[0].password": "s3cret"})
    with engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT details FROM extensions").scalar()
    assert "s3cret" not in stored
    with db.transaction(engine) as session:
        assert session.get(Extension, made["id"]).details == {"password": "s3cret"}
