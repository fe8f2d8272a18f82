"""`pgfleet db` and `pgfleet migrate` as a person meets them."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import typer
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from pgfleet.console.commands.database import db, migrate_command
from pgfleet.console.local.pginstall import find_programs
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.dsn import Unreachable
from pgfleet.schema.errors import FleetError
from worlds.fleet import until
from worlds.network.ports import free_port
from worlds.network.proxy import proxy_to

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def pgfleet(monkeypatch: pytest.MonkeyPatch, short_dir: Path) -> Run:
    """Runs the command with an embedded server of its own; gives the exit code and what was printed."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)
    monkeypatch.setenv("PGFLEET_DATA_DIR", str(short_dir))
    app = typer.Typer()
    app.add_typer(db, name="db")
    app.command("migrate")(migrate_command)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        return result.exit_code, result.output

    return run


def test_the_url_and_nothing_else_is_printed_and_leads_to_a_server(pgfleet: Run, short_dir: Path) -> None:
    code, printed = pgfleet("db", "url")

    assert code == 0
    psql = find_programs(short_dir).folder / "psql"
    said = subprocess.run([psql, printed.strip(), "-Atc", "select 1"], capture_output=True, text=True, check=True)
    assert said.stdout == "1\n"


def test_the_url_given_is_printed_whole(pgfleet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@h/db")

    assert pgfleet("db", "url") == (0, "postgresql://u:secret@h/db\n")


def test_a_server_is_followed_through_its_life(pgfleet: Run) -> None:
    assert pgfleet("db", "status")[0] == 1
    assert pgfleet("db", "stop") == (0, "was not running\n")

    code, lines = pgfleet("migrate")
    assert (code, lines.count("applied ")) == (0, len(sql_files()))
    assert pgfleet("migrate") == (0, f"nothing to do: {len(sql_files())} files applied\n")
    assert pgfleet("migrate", "--check") == (0, "nothing is missing\n")
    assert pgfleet("db", "status")[0] == 0

    assert pgfleet("db", "stop") == (0, "stopped\n")
    assert pgfleet("db", "status")[0] == 1


def test_the_check_lists_what_is_missing_and_changes_nothing(
    pgfleet: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    with psycopg.connect(dsn) as conn:
        conn.execute("alter table public.disks drop column size_gb, drop column disk_size")

    code, listed = pgfleet("migrate", "--check")

    assert (code, {*listed.splitlines()}) == (
        1,
        {
            "column public.disks.size_gb",
            "column public.disks.disk_size",
            "constraint public.disks.disks_size_gb_check",
        },
    )
    assert pgfleet("db", "status")[0] == 1


def test_migrations_go_to_the_direct_url(pgfleet: Run, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/pooler")
    monkeypatch.setenv("DATABASE_DIRECT_URL", dsn)

    assert pgfleet("migrate") == (0, f"nothing to do: {len(sql_files())} files applied\n")


def test_an_unreachable_server_is_told_without_its_password(pgfleet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/db")

    with pytest.raises(Unreachable, match=r"127\.0\.0\.1") as failed:
        pgfleet("migrate")

    assert "secret" not in str(failed.value)


def test_a_migration_waits_for_a_server_that_is_not_there_yet(
    pgfleet: Run, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    with proxy_to("postgresql://127.0.0.1:1/nowhere") as proxy:
        said, port = conninfo_to_dict(dsn), conninfo_to_dict(proxy.dsn)["port"]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{said['user']}@127.0.0.1:{port}/{said['dbname']}")

        def lead_there() -> None:
            until(lambda: proxy.refused > 0)
            proxy.target = dsn

        at_last = Thread(target=lead_there)
        at_last.start()
        code, printed = pgfleet("migrate", "--check", "--wait", "60")

    at_last.join()
    assert (code, printed.splitlines()[-1]) == (0, "nothing is missing")
    assert "It is tried again for 60 s.\n" in printed


def test_a_migration_that_does_not_wait_says_at_once_that_there_is_no_server(
    pgfleet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ada@127.0.0.1:{free_port()}/fleet")

    with pytest.raises(Unreachable, match="Can't reach PostgreSQL"):
        pgfleet("migrate", "--check")


def test_rows_are_numbered_from_where_a_fleets_ids_begin(
    pgfleet: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    add = "insert into autoscaler.nodes (name, region) values (%s, 'eu') returning id"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table public.another (id serial primary key)")
        conn.execute("select setval('public.status_history_history_id_seq', 2000)")

        code, told = pgfleet("migrate", "--ids-from=1000")

        assert (code, "ids from 1000 in " in told) == (0, True)
        assert conn.execute("select nextval('public.status_history_history_id_seq')").fetchone() == (2001,)
        assert conn.execute(add, ("a",)).fetchone() == (1000,)
        assert conn.execute("insert into public.another default values returning id").fetchone() == (1,)
        pgfleet("migrate", "--ids-from=1000")
        assert conn.execute(add, ("b",)).fetchone() == (1001,)


def test_ids_that_a_table_has_no_room_for_are_refused(pgfleet: Run, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)

    code, told = pgfleet("migrate", "--ids-from=2100000000")

    assert code == 2
    assert "2000000000" in told


def test_telemetry_stays_where_it_is_on_a_server_without_timescaledb(
    pgfleet: Run, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)

    with pytest.raises(FleetError, match=r"stays where it is: this server has no TimescaleDB\. Install it"):
        pgfleet("migrate", "--telemetry=timescaledb")

    code, told = pgfleet("migrate", "--telemetry=plain")
    assert (code, "telemetry is plain already" in told) == (0, True)
