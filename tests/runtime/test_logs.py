"""What a worker logs holds no secret, and is obeyed by no terminal."""

import os
import re
import subprocess
import sys

import pytest

DSN = "postgresql://ada:hunter2@db/fleet"
LOG = f"""
import logging, structlog
from pgfleet.workers.runtime.logs import set_up_logs
set_up_logs()
try:
    raise RuntimeError("no answer from {DSN}")
except RuntimeError as error:
    {{log}}
"""


@pytest.mark.parametrize(
    "log",
    [
        'structlog.get_logger().error("worker.failed", exc_info=error)',
        'logging.getLogger("a.library").exception("it failed")',
    ],
)
def test_a_traceback_is_logged_without_the_secrets_of_its_error(log: str) -> None:
    program = LOG.format(log=log)

    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)

    assert "RuntimeError: no answer from postgresql://ada:***@db/fleet" in ended.stderr
    assert "hunter2" not in ended.stderr


HOSTILE = """
import logging, os, structlog
os.isatty = lambda _: True
from pgfleet.workers.runtime.logs import set_up_logs
set_up_logs()
hostile = "\\x1b]0;mine\\x07 \\x9b2J \\u202e \\u2028 \\r\\nFORGED"
error = ValueError(hostile)
"""


@pytest.mark.parametrize(
    "log",
    [
        'structlog.get_logger().info("worker.failed", reason=hostile, why=error, all=[hostile])',
        'structlog.get_logger().error("worker.failed", exc_info=error)',
        'logging.getLogger("a.library").error("it failed: %s", hostile, exc_info=error)',
    ],
)
def test_a_terminal_obeys_nothing_that_others_have_written(log: str) -> None:
    program = [sys.executable, "-c", HOSTILE + log]

    shown = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=True).stderr

    of_ours = re.sub(r"\x1b\[\d*m", "", shown)
    assert "FORGED" in of_ours
    assert [letter for letter in of_ours if not letter.isprintable() and letter != "\n"] == []
    assert not any(line.startswith("FORGED") for line in of_ours.splitlines())


def test_what_is_secret_by_its_name_is_hidden_however_deep_it_is() -> None:
    body = {"env_vars": {"TOKEN": "hunter2"}, "parts": [{"Authorization": "ApiKey hunter2"}, DSN], "command": "hunter2"}
    program = LOG.format(log=f'structlog.get_logger().error("message.odd", body={body!r}, name="ada")')

    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)

    assert "hunter2" not in ended.stderr
    assert "ada" in ended.stderr


@pytest.mark.parametrize("log", ['structlog.get_logger().exception("it.failed")', "logging.exception('it failed')"])
def test_a_traceback_shows_no_variables(log: str) -> None:
    program = LOG.format(log=f"local = 'hunter' + str(2); {log}")

    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)

    assert "Traceback" in ended.stderr
    assert "hunter2" not in ended.stderr
