"""A database of another encoding than UTF-8 is refused in the same words by everything, before anything is made."""

import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from worlds.commands import Pgfleet
from worlds.database import database_encoded
from worlds.fleet import PATIENCE_S, REPOSITORY, worker_environment

COMMANDS = ("migrate", "migrate --check", "doctor", "db status", "ls", "types", "queues", "dead list")


@pytest.fixture(params=["SQL_ASCII", "LATIN1", "EUC_JP"])
def encoded(server_dsn: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with database_encoded(server_dsn, request.param) as dsn:
        yield dsn, request.param


def test_every_command_refuses_another_encoding_and_makes_nothing(
    encoded: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dsn, encoding = encoded
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)

    said = [pgfleet(*command.split()) for command in COMMANDS]

    assert {ended.code for ended in said} == {2}
    assert len({ended.err for ended in said}) == 1
    assert f"is encoded in {encoding}" in said[0].err
    assert "encoding 'UTF8' template template0" in said[0].err
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select count(*) from pg_namespace where nspname = 'pgmq'").fetchone() == (0,)


def test_a_worker_does_not_start_on_another_encoding(server_dsn: str) -> None:
    with database_encoded(server_dsn, "LATIN1") as dsn:
        command = [sys.executable, "-m", "dramatiq", "pgfleet.workers.heartbeat", "-p", "1", "-t", "1"]
        environment = worker_environment(dsn, None)
        ended = subprocess.run(
            command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    assert ended.returncode != 0
    assert "is encoded in LATIN1, and pgfleet needs UTF8" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
