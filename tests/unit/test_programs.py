"""Programs of the operator's: which are run, with what, for how long, and that nothing of them stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from manager.config import settings
from manager.programs import Unfit, program_at, run_program

NOBODY = 65534


@pytest.fixture
def directory(monkeypatch):
    """The directory of extensions, which other users reach too."""
    place = Path(tempfile.mkdtemp(prefix="pileus-extensions-"))
    place.chmod(0o755)
    monkeypatch.setenv("PILEUS_EXTENSIONS_DIRECTORY", str(place))
    settings.cache_clear()
    yield place
    monkeypatch.undo()
    settings.cache_clear()
    shutil.rmtree(place)


def script(place, text, mode=0o755, name="run"):
    path = place / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(mode)
    return path


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid, seconds=5.0):
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def pid_in(file, seconds=10.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if file.exists() and file.read_text().strip():
            return int(file.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{file} was not written")


def run(path, action="go", payload=None, timeout=20):
    return run_program(program_at(path), action, payload or {}, timeout)


def test_it_gets_its_arguments_and_payload_and_nothing_else(directory):
    script(directory, 'echo "$1|$3|$#"; cat "$2"; echo; echo "$2"; ls /proc/$$/fd; tr "\\0" "\\n" </proc/$$/environ')
    ended = run("run", "take a snapshot; rm", {"vm": "näme"}, timeout=7)
    assert (ended.how, ended.code, ended.errors) == ("exit", 0, "")
    first, payload, file, *rest = ended.output.splitlines()
    assert first == "take a snapshot; rm|7|3"
    assert json.loads(payload) == {"vm": "näme"}
    assert set(rest) <= {"0", "1", "2", "10", "255"}, "neither descriptors nor environment are inherited"
    assert not Path(file).parent.exists()


def test_a_failure_is_its_exit_code_and_what_it_wrote(directory):
    script(directory, "echo sorry; echo why >&2; exit 7")
    ended = run("run")
    assert (ended.how, ended.code, ended.output, ended.errors) == ("exit", 7, "sorry\n", "why\n")


def test_a_timeout_kills_all_that_it_began(directory, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    script(directory, f"sleep 300 & echo $! >{inside}\nsetsid sh -c 'echo $$ >{outside}; exec sleep 300' &\nsleep 300")
    started = time.monotonic()
    ended = run("run", timeout=1)
    assert ended.how == "timeout"
    assert time.monotonic() - started < 8
    assert gone(pid_in(inside), 0)
    assert gone(pid_in(outside), 0)


def test_what_it_leaves_behind_is_killed_when_it_ends(directory, tmp_path):
    left = tmp_path / "left"
    script(directory, f"setsid sh -c 'echo $$ >{left}; exec sleep 300' &\nwhile [ ! -s {left} ]; do sleep 0.05; done")
    ended = run("run")
    assert (ended.how, ended.code) == ("exit", 0)
    assert gone(pid_in(left), 0)


def test_output_is_bounded(directory):
    script(directory, "head -c 1000000 /dev/zero | tr '\\0' x")
    ended = run("run")
    assert (ended.how, ended.code, ended.output) == ("exit", 0, "x" * 65536)
    script(directory, "yes")
    ended = run("run", timeout=60)
    assert ended.how == "flood"
    assert len(ended.output) == 65536


def test_it_runs_as_the_user_that_is_configured(directory, monkeypatch):
    monkeypatch.setenv("PILEUS_EXTENSIONS_USER", "nobody")
    settings.cache_clear()
    script(directory, 'id -u; id -g; id -G; cat "$2"; grep NoNewPrivs /proc/self/status')
    ended = run("run", payload={"a": 1})
    assert ended.output.split() == [str(NOBODY)] * 3 + ['{"a":', "1}NoNewPrivs:", "1"]
    monkeypatch.setenv("PILEUS_EXTENSIONS_USER", "no-such-user")
    settings.cache_clear()
    assert run("run").how == "unstarted"


def test_what_the_kernel_cannot_run_is_not_started(directory):
    (directory / "run").write_bytes(b"\x7fELF nonsense")
    (directory / "run").chmod(0o755)
    assert run("run").how == "unstarted"


def test_a_killed_server_takes_its_programs_along(directory, tmp_path):
    file = tmp_path / "pid"
    path = script(directory, f"setsid sh -c 'echo $$ >{file}; exec sleep 300' &\nsleep 300")
    text = f"from manager.programs import run_program; run_program({str(path)!r}, 'go', {{}}, 300)"
    server = subprocess.Popen([sys.executable, "-c", text], cwd=Path(__file__).parents[2])
    pid = pid_in(file)
    assert alive(pid)
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert gone(pid)


@pytest.mark.parametrize(
    "path", ["", "/bin/sh", "../run", "a/../run", "a//run", "run/", ".", "a/./run", "-x", "a b", "a\nb"]
)
def test_a_path_that_leads_elsewhere_is_refused(directory, path):
    script(directory, "true")
    with pytest.raises(Unfit, match="relative to the directory") as refusal:
        program_at(path)
    assert not refusal.value.absent


def test_only_what_root_alone_can_change_is_run(directory, tmp_path):
    folder = directory / "tools"
    folder.mkdir(mode=0o755)
    path = script(folder, "true")
    assert program_at("tools/run") == str(path)
    for change, back, reason in (
        (lambda: path.chmod(0o757), lambda: path.chmod(0o755), "mode 757"),
        (lambda: path.chmod(0o775), lambda: path.chmod(0o755), "mode 775"),
        (lambda: path.chmod(0o644), lambda: path.chmod(0o755), "not executable"),
        (lambda: os.chown(path, NOBODY, 0), lambda: os.chown(path, 0, 0), "belong to root"),
        (lambda: folder.chmod(0o777), lambda: folder.chmod(0o755), "mode 777"),
        (lambda: directory.chmod(0o777), lambda: directory.chmod(0o755), "mode 777"),
    ):
        change()
        with pytest.raises(Unfit, match=reason):
            program_at("tools/run")
        back()
        assert program_at("tools/run")


def test_links_and_folders_are_no_programs(directory, tmp_path):
    script(tmp_path, "true", name="elsewhere")
    (directory / "link").symlink_to(tmp_path / "elsewhere")
    (directory / "folder").symlink_to(tmp_path)
    (directory / "real").mkdir()
    for path in ("link", "folder/elsewhere"):
        with pytest.raises(Unfit, match="symbolic link"):
            program_at(path)
    with pytest.raises(Unfit, match="regular file"):
        program_at("real")
    with pytest.raises(Unfit) as refusal:
        program_at("nothing")
    assert refusal.value.absent
