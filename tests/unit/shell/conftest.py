"""The shell against the real management application on loopback, and against a cloud by others."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from werkzeug.serving import make_server

from tests.client import Api, Caller
from tests.unit.shell.foreign import Foreign, foreign_cloud
from ui.shell import interactive
from ui.shell.main import main
from ui.shell.profiles import Config
from ui.shell.screen import Screen
from ui.shell.shell import Shell

ENTER, TAB, CTRL_C, CTRL_D = "\r", "\t", "\x03", "\x04"


class Terminal(io.StringIO):
    """A stream that says that it is a terminal; COLUMNS tells how wide."""

    def isatty(self) -> bool:
        return True


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, without anything of CloudStack's in the environment."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("ENDPOINT", "KEY", "SECRET", "API_URL", "API_KEY", "SECRET_KEY", "CONFIG", "REGION", "VERIFY"):
        monkeypatch.delenv(f"CLOUDSTACK_{name}", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "http_proxy", "HTTP_PROXY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    return folder


def use(monkeypatch: pytest.MonkeyPatch, url: str, *keys: str) -> None:
    """Name the cloud and the keys in the environment."""
    key, secret = keys or ("key", "secret")
    for name, value in (("ENDPOINT", url), ("KEY", key), ("SECRET", secret)):
        monkeypatch.setenv(f"CLOUDSTACK_{name}", value)


@pytest.fixture
def served(api: Api) -> Iterator[str]:
    """The address of the management application, which threads answer."""
    server = make_server("127.0.0.1", 0, api.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/client/api"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def as_admin(served: str, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> str:
    use(monkeypatch, served, admin.key, admin.secret)
    return served


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[Foreign]:
    with foreign_cloud() as cloud:
        use(monkeypatch, cloud.url)
        yield cloud


@pytest.fixture
def pileus(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The program with its output in pipes: `pileus("list", "zones")`."""

    def run(*words: str) -> Done:
        capsys.readouterr()
        code = main(list(words))
        taken = capsys.readouterr()
        return Done(code, taken.out, taken.err)

    return run


@pytest.fixture
def terminal() -> Callable[[], tuple[Shell, Any, Any]]:
    """A shell with its output on terminals; what is on them is told by `getvalue()`."""

    def make() -> tuple[Shell, Any, Any]:
        shell = Shell(Config())
        out, err = Terminal(), Terminal()
        shell.out, shell.err = Screen(out), Screen(err)
        return shell, out, err

    return make


class Until(str):
    """Nothing more is typed until the line is this."""

    __slots__ = ()

    def wait(self, buffer):
        until = time.monotonic() + 20
        while buffer.text != self and time.monotonic() < until:
            time.sleep(0.02)


@pytest.fixture
def converse(capsys):
    """What the shell printed while `keys` were typed."""

    def run(*keys):
        shell = Shell(Config(), interactive=True)
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
            session = interactive.session_of(shell)

            def type_keys():
                while not session.app.is_running:
                    time.sleep(0.02)
                for one in keys:
                    if hasattr(one, "wait"):
                        one.wait(session.default_buffer)
                    else:
                        pipe.send_text(one)

            typist = threading.Thread(target=type_keys)
            typist.start()
            code = interactive.converse(shell, session)
            typist.join()
        shell.close()
        return code, capsys.readouterr()

    return run
