"""A new kind is files of its own name: reminders, the smallest kind there is, put into a copy of the program."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from worlds.database import Connection, owner_and_worker
from worlds.fleet import PATIENCE_S, REPOSITORY, until

KIND = Path(__file__).parent / "reminder"
COPIED = ("schema", "producers", "workers", "console", "fixtures", "deploy", "src", "tests", "pyproject.toml")
NEEDED = """
import os, psycopg
from pathlib import Path
from pgfleet.schema.database import needed
with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
    Path(needed.__file__).with_name("needed.json").write_text(needed.render(conn))
"""


@dataclass(frozen=True)
class House:
    """A copy of the program with the new kind in it, and its database, where row level security is on."""

    folder: Path
    owner_dsn: str
    worker_dsn: str

    def environment(self, dsn: str) -> dict[str, str]:
        quick = {"dramatiq_worker_timeout": "200", "PGFLEET_LOG_LEVEL": "error"}
        return {**os.environ, **quick, "PYTHONPATH": str(self.folder / "src"), "DATABASE_URL": dsn}

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(self.owner_dsn),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def pgfleet(self, *arguments: str) -> str:
        return self.python("-m", "pgfleet.console.main", *arguments)

    def remind(self, note: str, **fields: Any) -> str:
        reminder_id = str(uuid.uuid4())
        given = {"reminder_id": reminder_id, "user_id": "ada", "note": note, **fields}
        self.pgfleet("submit", "reminder", "remind", *(f"{name}={value}" for name, value in given.items()))
        return reminder_id

    @contextmanager
    def worker(self) -> Iterator[None]:
        command = [sys.executable, "-m", "dramatiq", "pgfleet.workers.reminder", "-p", "1", "-t", "1"]
        process = subprocess.Popen(command, env=self.environment(self.worker_dsn), cwd=self.folder)
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def house(server_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """As an engineer would who adds a kind: its files, then `make generated`, then the database is migrated."""
    folder = tmp_path_factory.mktemp("house")
    for name in COPIED:
        source, target = REPOSITORY / name, folder / name
        if source.is_file():
            shutil.copy(source, target)
        else:
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    with owner_and_worker(server_dsn, "reminder") as (owner_dsn, worker_dsn):
        made = House(folder, owner_dsn, worker_dsn)
        made.pgfleet("migrate", "--rls")
        shutil.copytree(KIND, folder, dirs_exist_ok=True)
        made.python("-m", "pgfleet.schema.published.json_schema")
        made.python("deploy/manifests.py")
        made.pgfleet("migrate")
        made.python("-c", NEEDED)
        yield made


@pytest.fixture
def conn(house: House) -> Iterator[Connection]:
    with psycopg.connect(house.owner_dsn, autocommit=True) as connection:
        yield connection


def test_it_changes_no_file_that_was_there() -> None:
    files = [path.relative_to(KIND) for path in KIND.rglob("*") if path.is_file() and path.suffix in (".py", ".sql")]

    assert [path for path in files if (REPOSITORY / path).exists()] == []
    assert len(files) == 8


def test_it_is_submitted_and_its_worker_works_under_row_level_security(house: House, conn: Connection) -> None:
    reminder_id = house.remind("stand up")

    with house.worker():
        until(lambda: status(conn, reminder_id) == "reminded", within_s=60)

    history = conn.execute(
        "select from_status, to_status from public.status_history where machine = 'reminder' order by history_id"
    ).fetchall()
    assert history == [("(new)", "waiting"), ("waiting", "reminded")]
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)


def test_a_lost_ticket_is_told_by_the_doctor_and_sent_again_by_the_sweep(house: House, conn: Connection) -> None:
    reminder_id = house.remind("much later", after_s=3600)
    with house.worker():
        until(lambda: status(conn, reminder_id) == "waiting", within_s=60)
    conn.execute("delete from pgmq.q_reminders where message ->> 'reminder_id' = %s", (reminder_id,))
    conn.execute(
        "alter table public.reminders disable trigger user;"
        " update public.reminders set status_since = now() - interval '10 minutes';"
        " alter table public.reminders enable trigger user;"
        " update public.periodic set next_at = now() where name = 'reminder.sweep'"
    )

    found = [finding["text"] for finding in json.loads(house.pgfleet("doctor", "--json"))]
    with house.worker():
        until(lambda: tickets(conn, reminder_id) == [1], within_s=60)

    assert f"1 live reminders without a message: {reminder_id}" in found


def test_it_is_as_the_gate_wants_it(house: House) -> None:
    files = [str(path.relative_to(KIND)) for path in KIND.rglob("*.py")]

    assert house.python("-m", "ruff", "check", *files) == "All checks passed!\n"
    assert house.python("-m", "ruff", "format", "--check", *files) == f"{len(files)} files already formatted\n"


def test_its_rows_are_seen_by_their_user_alone(conn: Connection) -> None:
    found = conn.execute("select user_column from public.guarded_tables where table_name = 'reminders'").fetchall()

    assert found == [("user_id",)]


def test_its_own_tests_pass(house: House, server_dsn: str) -> None:
    done = house.python("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--postgres={server_dsn}", "tests/reminder")

    assert done.splitlines()[-1].startswith("2 passed"), done


def test_what_is_found_has_it(house: House) -> None:
    queues = {row["queue"] for row in json.loads(house.pgfleet("queues", "--json"))}

    assert "reminders" in queues
    assert "reminder" in house.pgfleet("submit", "--help")
    assert (house.folder / "schema/messages/reminders.json").exists()
    # The chart makes a Deployment for each file that is there.
    assert (house.folder / "deploy/chart/kinds/reminder.yaml").exists()
    assert '"reminder"' in (house.folder / "deploy/chart/values.schema.json").read_text("utf-8")


def test_what_its_database_lacks_is_named(house: House, conn: Connection) -> None:
    conn.execute("alter table public.reminders rename to away")
    try:
        lacking = house.pgfleet("migrate", "--check")
    finally:
        conn.execute("alter table public.away rename to reminders")

    assert "table public.reminders" in lacking


def status(conn: Connection, reminder_id: str) -> str | None:
    row = conn.execute("select status from public.reminders where reminder_id = %s", (reminder_id,)).fetchone()
    return row[0] if row else None


def tickets(conn: Connection, reminder_id: str) -> list[int]:
    asked = "select (message ->> 'ticket')::int from pgmq.q_reminders where message ->> 'reminder_id' = %s"
    return [number for (number,) in conn.execute(asked, (reminder_id,)).fetchall()]
