"""What somebody at a prompt, half a restore or a server may break: the doctor finds it, and its advice mends it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from rich.console import Console

from pgfleet.console.commands import doctor
from pgfleet.schema.doctor.examination import CHECKS, examine
from pgfleet.schema.doctor.findings import LIMITS, Check, Finding, Limits, Severity
from pgfleet.schema.doctor.ground.sessions import taken_as_it_is
from worlds.database import Connection, fresh_database

# A fleet in a few rows, each where its history says.
ROWS = """
  set local pgfleet.actor = 'a worker';
  insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
    values ('r1', 'ada', 'pending', 't4', 1, 4, now()), ('r2', 'ada', 'pending', 't4', 1, 4, now());
  update public.reservations set status = 'preparing' where reservation_id = 'r1';
  update public.reservations set status = 'active', expires_at = now() + interval '1 hour' where reservation_id = 'r1';
  insert into public.disks (disk_id, disk_name, user_id) values ('00000000-0000-0000-0000-000000000001', 'd', 'ada');
  insert into public.api_users (username) values ('ada'), ('bob');
  insert into public.api_keys (user_id, key_hash, key_prefix) select user_id, username, 'x' from public.api_users;
  update public.periodic set next_at = public.fleet_now() + every;
  select public.keep_house() from generate_series(1, 60);
"""
BEHIND = "set local session_replication_role = replica;"
DAY = "(public.fleet_now() at time zone 'UTC')::date"
# What was done: the code of the finding, words of it, and whether its advice is SQL that mends it.
BREAKS: dict[str, tuple[str, str, bool]] = {
    f"{BEHIND} update public.reservations set status = 'failed' where reservation_id = 'r1'": (
        "history.elsewhere",
        "r1 is failed, its history says active",
        False,
    ),
    "alter table public.reservations disable trigger user; update public.reservations set status = 'failed'": (
        "history.elsewhere",
        "2 rows of public.reservations",
        False,
    ),
    f"{BEHIND} update public.disks set status = 'available'": (
        "history.elsewhere",
        "is available, its history says creating",
        False,
    ),
    "delete from public.status_history where row_id = 'r1' and to_status = 'preparing'": (
        "history.gap",
        "r1 moves from preparing after pending",
        False,
    ),
    "delete from public.status_history where row_id = 'r1' and to_status = 'pending'": (
        "history.gap",
        "r1 moves from pending after nothing",
        False,
    ),
    "delete from public.status_history where row_id = 'r1' and to_status = 'active'": (
        "history.elsewhere",
        "r1 is active, its history says preparing",
        False,
    ),
    "delete from public.status_history where row_id = 'r1'": (
        "history.elsewhere",
        "r1 is active, its history says None",
        False,
    ),
    "insert into public.moves values ('reservation', 'expired', 'active', 'by hand')": (
        "moves.extra",
        "a reservation may move from expired to active",
        True,
    ),
    "delete from public.moves where machine = 'disk' and to_status = 'purged'": (
        "schema.missing",
        "move disk: deleted -> purged",
        False,
    ),
    "update public.periodic set next_at = next_at + interval '1 year' where name = 'reservation.sweep'": (
        "workers.distant",
        "reservation.sweep is not due before",
        True,
    ),
    "update public.periodic set next_at = 'infinity' where name = 'reservation.sweep'": (
        "workers.distant",
        "reservation.sweep is not due before infinity",
        True,
    ),
    "update public.periodic set next_at = next_at - interval '1 hour' where queue = 'disk_operations'": (
        "workers.none",
        "no disk worker runs",
        False,
    ),
    "update public.periodic set next_at = next_at - interval '1 hour' where queue = 'gpu_reservations'": (
        "nodes.no_look",
        "no reservation worker looks at nodes: they were never seen",
        False,
    ),
    "update public.retention set next_at = 'infinity' where table_name = 'public.outages'": (
        "house.distant",
        "public.outages is not tidied before infinity",
        True,
    ),
    "update public.retention set problem = 'why not', problem_since = now() where table_name = 'public.outages'": (
        "house.failing",
        "why not",
        False,
    ),
    "update public.reservations set status = 'preparing' where reservation_id = 'r2';"
    f"{BEHIND} update public.reservations set status_since = now() - interval '3 h' where reservation_id = 'r2'": (
        "states.slow",
        "1 reservations have been preparing for too long",
        False,
    ),
    f"{BEHIND} update public.reservations set expires_at = now() - interval '1 h' where reservation_id = 'r1'": (
        "states.slow",
        "active, and its time is over",
        False,
    ),
    f"{BEHIND} update public.disks set status_since = now() - interval '3 h'": (
        "states.slow",
        "1 disks have been creating",
        False,
    ),
    'select pgmq.send(\'gpu_reservations\', \'{"reservation_id": "r1", "ticket": 1}\') from generate_series(1, 3)': (
        "messages.twice",
        "1 rows have their ticket more than once: ",
        False,
    ),
    """select pgmq.send('gpu_reservations', '{"action": "sweep"}', '{"pgfleet": {"attempts": 400}}'::jsonb)""": (
        "messages.failing",
        "1 message failed more than 20 times",
        False,
    ),
    "select pgmq.send('gpu_reservations', '{}', 99999999)": ("messages.distant", "1 messages are not due", True),
    "alter table pgmq.q_gpu_reservations set (autovacuum_enabled = off)": (
        "server.no_vacuum",
        "never vacuumed: pgmq.q_gpu_reservations",
        True,
    ),
    "select setval('public.api_users_user_id_seq', 1)": (
        "numbers.behind",
        "public.api_users.user_id goes up to 2, its sequence gives out 2 next",
        True,
    ),
    "select pgmq.send('disk_operations', '{}'); select pgmq.send('disk_operations', '{}');"
    "select setval('pgmq.q_disk_operations_msg_id_seq', 1)": ("numbers.behind", "goes up to 2", True),
    f"{BEHIND} delete from public.api_users where username = 'bob'": (
        "references.orphans",
        "1 rows of public.api_keys refer to rows of public.api_users",
        False,
    ),
    "drop table autoscaler.metrics_p{tomorrow}": (
        "partitions.day",
        "autoscaler.metrics has no partition for tomorrow",
        False,
    ),
    f"{BEHIND} insert into autoscaler.metrics (node_id, metric_type, value, unit, timestamp)"
    " values (1, 'cpu', 1, '%', '2020-01-01')": (
        "partitions.unsorted",
        "1 rows of autoscaler.metrics are in no day's partition",
        False,
    ),
    "alter table autoscaler.metrics detach partition autoscaler.metrics_default": (
        "partitions.detached",
        "autoscaler.metrics_default is detached",
        True,
    ),
    "alter table public.disks add column theirs integer not null default 1; alter table public.disks"
    " alter column theirs drop default": ("columns.unfilled", "public.disks has a column theirs", True),
    "create rule swallow as on insert to public.reservations do instead nothing": (
        "columns.added",
        "rule public.reservations.swallow",
        False,
    ),
    "create rule lose as on insert to pgmq.q_gpu_reservations do instead nothing": (
        "columns.added",
        "rule pgmq.q_gpu_reservations.lose",
        False,
    ),
    "alter table pgmq.q_gpu_reservations add constraint few check (msg_id < 9)": (
        "columns.added",
        "constraint pgmq.q_gpu_reservations.few",
        False,
    ),
    "alter table pgmq.q_gpu_reservations add column theirs integer not null": (
        "columns.unfilled",
        "pgmq.q_gpu_reservations has a column theirs",
        False,
    ),
    "create unique index lonely on public.reservations (user_id, status)": (
        "columns.added",
        "index public.lonely",
        False,
    ),
    "create trigger eat before insert on public.disks for each row execute function public.note_status_since()": (
        "columns.added",
        "trigger public.disks.eat",
        False,
    ),
    "alter table public.dead_letters alter column dead_letter_id drop identity": (
        "schema.by_hand",
        "column public.dead_letters.dead_letter_id is bigint not null, not",
        True,
    ),
    "alter table public.reservations enable row level security": ("rights.unguarded", "row level security", False),
    "alter role pgfleet_worker_disk superuser bypassrls": (
        "rights.able",
        "the role pgfleet_worker_disk has superuser, bypassrls",
        True,
    ),
    "alter role pgfleet_user login": ("rights.able", "the role pgfleet_user has login", True),
    "grant pgfleet_worker to pgfleet_user": ("rights.member", "pgfleet_user was let into pgfleet_worker", True),
    "grant pg_read_all_data to pgfleet_node": ("rights.member", "let into pg_read_all_data", True),
    "select public.switch_row_level_security(true);create policy mine on public.reservations for select using (true)": (
        "rights.policy",
        "public.reservations has a policy mine",
        True,
    ),
    "grant update on public.reservations to pgfleet_user": (
        "schema.needless",
        "needless rights of pgfleet_user: update on public.reservations",
        True,
    ),
    "grant all on pgmq.q_gpu_reservations, pgmq.a_gpu_reservations to public": (
        "schema.needless",
        "select, trigger, truncate, update on pgmq.a_gpu_reservations; ",
        True,
    ),
    "alter table public.disks rename column size_gb to size": (
        "schema.by_hand",
        "column public.disks.size_gb is missing; public.disks.size is there that nobody knows: renamed?",
        True,
    ),
    "delete from public.limits where name = 'images'": ("schema.missing", "row public.limits images", False),
    "delete from public.gpu_types where gpu_type = 'h100'": ("schema.missing", "row public.gpu_types h100", False),
    "drop function pgmq.send(text, jsonb)": ("schema.missing", "function pgmq.send(text,jsonb)", False),
    "alter view public.fleet_views owner to pg_monitor": ("rights.owner", "public.fleet_views", False),
}


@pytest.fixture(scope="module")
def fleet_dsn(server_dsn: str, template: str) -> Iterator[str]:
    with fresh_database(server_dsn, template) as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute(ROWS)
        yield dsn


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """What is done on it is rolled back. Periodic work is due now, however long ago the database was made."""
    with psycopg.connect(fleet_dsn) as connection, connection.transaction(force_rollback=True):
        connection.execute("update public.periodic set next_at = public.fleet_now()")
        connection.execute("update public.gpu_looks set next_at = public.fleet_now()")
        yield connection


def found(conn: Connection) -> dict[str, Finding]:
    """What the doctor finds, but for the settings of a server that need not be durable."""
    findings = examine(conn)
    return {each.code: each for each in findings if each.severity is not Severity.OK and each.check != "settings"}


def test_a_database_in_which_nothing_is_broken_is_well(conn: Connection) -> None:
    assert {code for code in found(conn) if code != "tickets"} == set()


def test_a_node_that_is_cordoned_twice_is_no_break(conn: Connection) -> None:
    nudge = '{"reservation_id": "r1", "ticket": -1}'
    conn.execute("select pgmq.send('gpu_reservations', %s::jsonb) from generate_series(1, 2)", (nudge,))

    assert "messages.twice" not in found(conn)


@pytest.mark.parametrize(("done", "expected"), BREAKS.items())
def test_a_break_is_found_and_told_with_what_to_do(
    conn: Connection, done: str, expected: tuple[str, str, bool]
) -> None:
    code, words, mends = expected
    tomorrow = conn.execute(f"select to_char({DAY} + 1, 'YYYYMMDD')").fetchone()
    conn.execute(done.replace("{tomorrow}", tomorrow[0] if tomorrow else "").encode())
    conn.execute("set local session_replication_role = origin")

    finding = found(conn)[code]

    assert words in finding.text
    assert finding.remedy
    if mends:
        conn.execute(finding.remedy.encode())
        assert code not in found(conn)


def test_a_row_that_was_moved_behind_its_trigger_is_put_right_either_way(conn: Connection) -> None:
    conn.execute(f"{BEHIND} update public.reservations set status = 'failed' where reservation_id = 'r1'")
    conn.execute("set local session_replication_role = origin")
    (_, remedy), (_, back) = (
        part.split(": ", 1)
        for part in (found(conn)["history.elsewhere"].remedy or "").split("; if its history is")
        for part in [part if part.startswith("if") else f"x{part}"]
    )

    with conn.transaction(force_rollback=True):
        conn.execute(remedy.encode())
        assert "history.elsewhere" not in found(conn)
    conn.execute(back.removeprefix("begin; ").removesuffix("; commit").encode())

    assert "history.elsewhere" not in found(conn)


WELL: dict[str, Any] = {
    "is_standby": False, "read_only": "off", "triggers_for": "origin", "autovacuum": "on", "track_counts": "on",
    "sessions": 5, "most": 97, "database": "db", "xids": 1000, "collation": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"is_standby": True}, "server.standby"),
        ({"read_only": "on"}, "server.read_only"),
        ({"triggers_for": "replica"}, "server.no_triggers"),
        ({"autovacuum": "off"}, "server.no_vacuum"),
        ({"track_counts": "off"}, "server.no_vacuum"),
        ({"sessions": 90}, "server.connections"),
        ({"xids": 600_000_000}, "server.wraparound"),
    ],
)
def test_a_server_that_does_not_serve_is_told(given: dict[str, Any], code: str) -> None:
    (finding,) = taken_as_it_is(WELL | given)

    assert finding.code == code
    assert finding.remedy
    assert list(taken_as_it_is(WELL)) == []


def test_a_setting_that_switches_triggers_off_for_all_is_told(dsn: str, conn: Connection) -> None:
    name = dsn.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"alter database {name} set session_replication_role = replica")

    with psycopg.connect(dsn, autocommit=True) as session:
        assert "server.no_triggers" in found(session)


def test_a_check_that_stumbles_is_a_finding_and_the_others_are_made(conn: Connection) -> None:
    def stumble(_: Connection, __: Limits) -> list[Finding]:
        raise KeyError("no such column")

    first, *others = examine(conn, LIMITS, [Check("odd", "well", stumble), *CHECKS])

    assert (first.code, first.severity) == ("odd.unable", Severity.WARNING)
    assert "KeyError: 'no such column'" in first.text
    assert len(others) >= len(CHECKS)


@pytest.mark.parametrize("table", ["public.moves", "public.periodic", "public.retention", "public.status_history"])
def test_whatever_is_not_there_the_others_are_looked_at(conn: Connection, table: str) -> None:
    conn.execute(f"drop table {table} cascade")

    findings = examine(conn)

    assert f"table {table}" in next(each.text for each in findings if each.code == "schema.missing")
    assert {each.check for each in findings} == {check.name for check in CHECKS}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_is_cut_on_a_terminal_of_any_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(doctor, "out", lambda: console)
    text = "a sentence of many words that goes on and on until it does not fit on any line of any terminal, for sure"
    command = "pgfleet some long command --with many --options and an-id-0123456789 that nobody wants to have cut"

    doctor.print_finding(Finding("history", Severity.ERROR, text, command))

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    assert shown.split() == ["error", "history", *text.split(), "do:", *command.split()]
