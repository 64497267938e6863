"""Log lines: plain, one an event, with tracebacks that show no values."""

from __future__ import annotations

import logging
import re

import pytest
import structlog

from agents import log as logs


@pytest.fixture(autouse=True)
def logging_as_before():
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_has_time_level_event_and_facts(capsys):
    logs.set_up("INFO")
    structlog.get_logger().warning("broker unreachable", queue="q", error="no answer", empty="")
    line = capsys.readouterr().err
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z warning  broker unreachable queue=q error='no answer' empty=''\n"
    assert re.fullmatch(pattern, line)


def test_an_event_stays_on_its_line(capsys):
    logs.set_up("INFO")
    structlog.get_logger().info("said", text="a\nb=c")
    assert capsys.readouterr().err.count("\n") == 1


def test_lower_levels_are_left_out(capsys):
    logs.set_up("WARNING")
    structlog.get_logger().info("unseen")
    assert capsys.readouterr().err == ""


def fail() -> None:
    password = "hunter2"  # noqa: F841 - it must not be shown
    raise LookupError("no such thing")


@pytest.mark.parametrize("given", ["error", "now"])
def test_a_traceback_shows_no_values(capsys, given):
    logs.set_up("INFO")
    try:
        fail()
    except LookupError as error:
        structlog.get_logger().error("failed", exc_info=error if given == "error" else True)
    text = capsys.readouterr().err
    assert "LookupError: no such thing" in text
    assert "in fail" in text
    assert "hunter2" not in text.replace('password = "hunter2"', "")


def test_other_libraries_log_alike(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest has put its own there
    logs.set_up("INFO")
    logging.getLogger("celery.worker").warning("connection lost")
    logging.getLogger("celery.worker").info("unseen")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-.*T.*Z warning  connection lost logger=celery\.worker\n", line)
