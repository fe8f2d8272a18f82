"""Logs: one event a line, JSON on a pipe and readable on a terminal, with data in keys."""

import logging
import os
import sys
from textwrap import indent
from typing import Any

import structlog

from pgfleet.schema.database.dsn import redact
from pgfleet.schema.printable import harmless, printable
from pgfleet.schema.tracing import spans

SECRET_KEYS = ("password", "token", "api_key", "kubeconfig", "secret", "dsn", "authorization", "env_vars", "command")


def set_up_logs() -> None:
    """Set up structlog and the standard library's loggers; PGFLEET_LOG_LEVEL chooses the level."""
    level = getattr(logging, os.environ.get("PGFLEET_LOG_LEVEL", "info").upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _say_the_span,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # First, as a traceback quotes what an error says.
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    # dramatiq gives its workers a pipe for sys.stderr; descriptor 2 is the stderr of the process.
    terminal = os.isatty(2)
    # JSON escapes what a terminal would obey.
    shared += [_without_commands] if terminal else []
    last = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # dramatiq and the libraries log through the standard library: the same lines, from the same place.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # It logs every URL, and some of ours hold e-mail addresses.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _without_commands(_logger: Any, _method: str, event: Any) -> Any:
    """What others have written moves no cursor, and looks like no line of ours; a traceback is indented."""
    for key, value in event.items():
        if value is not None and not isinstance(value, (int, float)):
            event[key] = indent(harmless(str(value)), "  ") if key == "exception" else printable(value)
    return event


def _say_the_span(_logger: Any, _method: str, event: Any) -> Any:
    """A line is found by the trace that it belongs to, unless it says itself to which."""
    return {**spans.ids(), **event}


def _hide_secrets(_logger: Any, _method: str, event: Any) -> Any:
    return {key: _shown(key, value) for key, value in event.items()}


def _shown(key: Any, value: Any) -> Any:
    """A value without secrets, whatever it is nested in."""
    if any(secret in str(key).lower() for secret in SECRET_KEYS):
        return "***"
    if isinstance(value, dict):
        return {name: _shown(name, part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown("", part) for part in value]
    return redact(value) if isinstance(value, str) else value
