"""How every process of Pileus logs: one plain line an event, to standard error, with tracebacks that show no values."""

from __future__ import annotations

import datetime as dt
import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

TIME = "%Y-%m-%dT%H:%M:%S"


def set_up(level: str = "INFO") -> None:
    """Log from `level` on: time (UTC), level, event, key=value, and below it the traceback, if any.

    Local variables are never shown, for they may hold secrets.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt=f"{TIME}.%fZ", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Looked up at each line, for a test or a supervisor may have given the process another one.
        logger_factory=lambda *_arguments: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_Foreign())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler])


class _Foreign(logging.Formatter):
    """Lines of libraries that use the standard logging, in the same shape."""

    def format(self, record: logging.LogRecord) -> str:
        at = dt.datetime.fromtimestamp(record.created, dt.UTC).strftime(f"{TIME}.%fZ")
        event = {"timestamp": at, "level": record.levelname.lower(), "event": record.getMessage()}
        return render(None, "", {**event, "logger": record.name, "exc_info": record.exc_info or False})


def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """The line of an event; `exc_info` becomes the traceback below it."""
    raised: Any = event.pop("exc_info", False)
    at, level, told = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    words = [f"{at} {level:<8} {told}", *(f"{name}={_shown(value)}" for name, value in event.items())]
    return "\n".join([" ".join(words), *_traceback(raised)])


def _shown(value: Any) -> str:
    """A value without white space as it is, any other quoted, so that every event stays on its line."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else repr(text)


def _traceback(raised: Any) -> list[str]:
    error = sys.exception() if raised is True else raised[1] if isinstance(raised, tuple) else raised
    if not isinstance(error, BaseException):
        return []
    return "".join(traceback.format_exception(error)).rstrip().splitlines()
