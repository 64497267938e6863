"""The whole program in a process of its own: how it starts, and how it is on a terminal."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.unit.api import site

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "ui.shell"]
CURSOR_QUESTION, CURSOR_ANSWER = b"\x1b[6n", b"\x1b[1;1R"


@pytest.fixture
def zones(as_admin, api, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("COLUMNS")
    return {name: site.zone(api, name) for name in ("alpha", "beta")}


class Pty:
    """The program on a terminal of 24 lines."""

    def __init__(self, columns, *words):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execv(PROGRAM[0], [*PROGRAM, *words])  # noqa: S606 - as it is meant
        self.seen = b""

    def until(self, text, seconds=20):
        """Read until the expression `text` is met; what came, without the codes of the terminal."""
        end = time.monotonic() + seconds
        while text is None or not re.search(text, self.plain, re.DOTALL):
            assert time.monotonic() < end, self.plain
            if not select.select([self.terminal], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data
            if CURSOR_QUESTION in data:
                os.write(self.terminal, CURSOR_ANSWER)
        return self.plain

    @property
    def plain(self):
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\x07]*\x07", "", self.seen.decode(errors="replace"))

    def type(self, text):
        self.seen = b""
        os.write(self.terminal, text.encode())

    def end(self):
        self.until(None)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)


def test_table_on_a_terminal_fits_it(zones):
    program = Pty(50, "list", "zones")
    text = program.until("2 zones")
    assert program.end() == 0
    lines = [line for line in text.splitlines() if line]
    assert all(len(line) <= 50 for line in lines)
    assert [line.split()[0] for line in lines[-4:]] == ["NAME", "alpha", "beta", "2"]


def test_reasons_are_wrapped_on_a_narrow_terminal(zones):
    program = Pty(
        40, "create", "zone", "name=alpha", "networktype=Advanced", "dns1=192.0.2.1", "internaldns1=192.0.2.1"
    )
    assert program.end() == 1
    lines = [line for line in program.plain.splitlines() if line]
    assert all(len(line) <= 40 for line in lines)
    assert [line[:8] for line in lines[-2:]] == ["pileus: ", " " * 8]


def test_whole_conversation(zones):
    program = Pty(90)
    program.until("pileus:environment>")
    program.type("list zones -c name where name~al\r")
    assert "1 of 2 zones" in program.until("1 of 2 zones")
    program.type("update zone id=\t")
    text = program.until(zones["beta"])
    assert "alpha" in text
    program.type("\x03!echo from the $((40 + 2))\r")
    program.until("from the 42.*pileus:environment>")
    program.type("\x04")
    assert program.end() == 0


def test_one_command_imports_little(zones):
    code = (
        "import sys; from ui.shell.main import main; code = main(['list', 'zones']);"
        "print(sorted({'prompt_toolkit', 'rich', 'requests', 'argparse', 'dataclasses', 'yaml', 'jmespath', 'asyncio',"
        " 'difflib', 'textwrap'} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_lines_of_the_standard_input_are_a_script(zones):
    done = subprocess.run(
        PROGRAM, input="list zones -o csv -c name\nlist zonse\n", check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "name\nalpha\nbeta\n")
    assert done.stderr.endswith("pileus: standard input, line 2 failed.\n")


def test_reader_that_leaves_is_no_trouble(zones):
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(PROGRAM)} list zones | true"], check=False, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_ctrl_c_ends_a_watch(zones):
    program = Pty(80, "watch", "0.2", "list", "zones", "-c", "name")
    program.until("2 zones")
    program.type("\x03")
    assert program.end() == 130
