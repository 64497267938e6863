"""The interactive shell in this process: keys go in through a pipe."""

import contextlib

import pytest
from prompt_toolkit.document import Document

from tests.unit.api import site
from tests.unit.shell.conftest import CTRL_C, CTRL_D, ENTER, TAB, Until
from ui.shell import history, interactive, menu
from ui.shell.profiles import Config
from ui.shell.shell import Shell


@pytest.fixture
def zones(as_admin, api):
    return {name: site.zone(api, name) for name in ("alpha", "beta")}


def test_lines_are_run_and_remembered(zones, converse, home):
    code, taken = converse(
        f"list zones -o csv -c name{ENTER}list zones name=beta -o id{ENTER}",
        f"update zone id=$last.id name=gamma -o csv -c name{ENTER}pileus list zonse{ENTER}",
        CTRL_D,
    )
    assert code == 0
    assert taken.out.split("\n", 1)[1] == f"name\nalpha\nbeta\n{zones['beta']}\nname\ngamma\n"
    assert "Did you mean list zones?" in taken.err
    kept = history.lines_of(home / ".config/pileus/history")
    assert kept[0] == "list zones -o csv -c name"
    assert (home / ".config/pileus/history").stat().st_mode & 0o777 == 0o600


def test_line_can_be_given_up_and_the_shell_left(zones, converse):
    _, taken = converse(f"delete zone id=alpha{CTRL_C}", f"list zones -o id{ENTER}exit{ENTER}")
    assert set(taken.out.split()) >= set(zones.values())


def test_tab_completes_by_name_also_when_it_is_typed_too_early(zones, converse):
    _, taken = converse(
        f"list zo{TAB}", Until("list zones"), f" id=al{TAB}", Until("list zones id=alpha"), f" -o id{ENTER}{CTRL_D}"
    )
    assert taken.out.splitlines()[-1] == zones["alpha"], taken.err


def test_secrets_are_not_remembered(home):
    path = home / "history"
    for line in ("create user password=x", "register sshkeypair name=k privatekey='a b'", "list users", ""):
        history.keep(path, line)
    assert history.lines_of(path) == ["list users"]


def test_unreachable_server_does_not_keep_the_prompt_away(monkeypatch, converse):
    for name, value in (("ENDPOINT", "http://127.0.0.1:1/client/api"), ("KEY", "k"), ("SECRET", "s")):
        monkeypatch.setenv(f"CLOUDSTACK_{name}", value)
    code, taken = converse(f"list zones{ENTER}", CTRL_D)
    assert code == 0
    assert taken.err.count("cannot be reached") == 2


def test_completions_come_with_what_they_are(zones, capsys):
    shell = Shell(Config(), interactive=True)
    shell.sync()
    shell.close()
    completer = menu.ShellCompleter(shell)
    found = list(completer.get_completions(Document("create pod zoneid="), None))
    assert [(one.text, one.start_position, one.display_text) for one in found] == [
        ("zoneid=alpha", -7, "alpha"),
        ("zoneid=beta", -7, "beta"),
    ]
    assert zones["alpha"] in found[0].display_meta_text


def test_word_comes_of_jobs_that_end(foreign, capsys):
    shell = Shell(Config(), interactive=True)
    shell.detached = ["good", "bad", "open"]
    results = {
        "good": {"jobstatus": 1, "jobresult": {"success": True}},
        "bad": {"jobstatus": 2, "jobresult": {"errortext": "No room."}},
        "open": {"jobstatus": 0},
    }
    foreign.replies["queryAsyncJobResult"] = lambda given: results[given["jobid"]]
    watcher = interactive.Watcher(shell)
    for job_id in watcher.running:
        watcher.look(job_id)
    assert capsys.readouterr().out == "The job good is done\nThe job bad failed: No room.\n"
    assert watcher.running == ["open"]
    assert "1 job running" in interactive.toolbar(watcher)


def test_plain_prompt_where_prompt_toolkit_is_missing(zones, monkeypatch, capsys):
    from ui.shell import simple

    lines = iter(["list zones -o csv -c name", KeyboardInterrupt, "list nothing", "quit"])

    def read(_prompt):
        line = next(lines)
        if line is KeyboardInterrupt:
            raise line
        return line

    monkeypatch.setattr("builtins.input", read)
    shell = Shell(Config(), interactive=True)
    with contextlib.closing(shell):
        assert simple.converse(shell) == 2
    assert capsys.readouterr().out == "name\nalpha\nbeta\n"
