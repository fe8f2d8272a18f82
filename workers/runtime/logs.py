"""Logs: one event a line, JSON on a pipe and readable on a terminal, with data in keys."""

import logging
import os
import sys
from typing import Any

import structlog

from pgfleet.schema.database.dsn import redact

SECRET_KEYS = ("password", "token", "api_key", "kubeconfig", "secret", "dsn")


def set_up_logs() -> None:
    """Set up structlog and the standard library's loggers; PGFLEET_LOG_LEVEL chooses the level."""
    level = getattr(logging, os.environ.get("PGFLEET_LOG_LEVEL", "info").upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    # dramatiq gives its workers a pipe for sys.stderr; descriptor 2 is the stderr of the process.
    terminal = os.isatty(2)
    last = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, last],
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
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def _hide_secrets(_logger: Any, _method: str, event: Any) -> Any:
    for key, value in event.items():
        if any(secret in key for secret in SECRET_KEYS):
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = redact(value)
    return event
