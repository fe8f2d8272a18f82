"""`pgfleet doctor`: each check, on a database that is well and on one that is not."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from pgfleet.console.commands.running.worker import kinds
from pgfleet.schema.database.holders import only_one
from pgfleet.schema.doctor.examination import CHECKS, examine
from pgfleet.schema.doctor.findings import LIMITS, Check, Finding, Limits, Severity
from pgfleet.schema.doctor.program import durability, supported
from pgfleet.schema.doctor.server import holder
from pgfleet.schema.kinds import queues
from pgfleet.schema.rows.forgotten import ask_forgotten
from worlds.commands import Pgfleet
from worlds.database import durable, fresh_database
from worlds.fleet import Connection, new_id, send, until
from worlds.reservations import QUEUE

SEARCH_PATH = "public, hopsworks, autoscaler, clusters"
OK, SKIPPED, WARNING, ERROR = Severity.OK, Severity.SKIPPED, Severity.WARNING, Severity.ERROR


@pytest.fixture(scope="module")
def healthy_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """One database for all that only look, or that change their mind."""
    with fresh_database(server_dsn, template) as dsn:
        yield with_settings(dsn)


@pytest.fixture
def durable_server(server_dsn: str) -> Iterator[None]:
    """For all that look at the server's settings."""
    with durable(server_dsn):
        yield


@pytest.fixture
def conn(healthy_dsn: str) -> Iterator[Connection]:
    """What is done on it is rolled back."""
    with psycopg.connect(healthy_dsn) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def own_dsn(dsn: str) -> str:
    """For changes that others have to see, or that no transaction may hold."""
    return with_settings(dsn)


@pytest.fixture
def own(own_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(own_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def pgfleet(
    durable_server: None, healthy_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pgfleet:
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)
    return Pgfleet(healthy_dsn, monkeypatch, capsys)


def with_settings(dsn: str) -> str:
    """A copy of a database has its tables, and not its settings; workers run, as far as it knows."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"alter database {name_of(dsn)} set search_path = {SEARCH_PATH}")
        admin.execute("update public.periodic set next_at = public.fleet_now() + every")
        # Made with the template, which may be old by now.
        admin.execute("update public.gpu_looks set next_at = public.fleet_now()")
    return dsn


def name_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


def found(conn: Connection, name: str, limits: Limits = LIMITS) -> list[Finding]:
    """What one check finds."""
    (check,) = (check for check in CHECKS if check.name == name)
    return [finding for finding in examine(conn, limits, [check]) if finding.severity is not OK]


def the_one(conn: Connection, check: str, limits: Limits = LIMITS) -> Finding:
    (finding,) = found(conn, check, limits)
    return finding


def reserve(conn: Connection, *, age_s: float = 0, **given: Any) -> str:
    """A row as somebody may insert it: without a message."""
    values = {"reservation_id": new_id(), "status": "pending", "gpu_type": "h100", "gpus_held": 0, **given}
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        " created_at, gpus_held, ticket, status_since)"
        " values (%(reservation_id)s, 'ada', %(status)s, %(gpu_type)s, 2, 4, now(), %(gpus_held)s, 1, now())",
        values,
    )
    conn.execute(
        "update public.reservations set status_since = now() - make_interval(secs => %s) where reservation_id = %s",
        (age_s, values["reservation_id"]),
    )
    return str(values["reservation_id"])


def run_remedy(conn: Connection, remedy: str | None) -> None:
    """What a person copies out of the advice; where it is a transaction, as part of the test's own."""
    assert remedy is not None
    _, begins, rest = remedy.partition("begin; ")
    conn.execute((rest.removesuffix("; commit") if begins else remedy).encode())


# --- the command


def test_a_healthy_database_has_one_line_a_check_and_ends_with_0(pgfleet: Pgfleet) -> None:
    ended = pgfleet("doctor")

    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert [(line[:8].strip(), line[9:22].strip()) for line in lines] == [("ok", check.name) for check in CHECKS]


def test_json_is_a_list_of_findings_with_stable_keys(pgfleet: Pgfleet) -> None:
    ended = pgfleet("doctor", "--json")

    assert ended.code == 0
    assert {tuple(finding) for finding in ended.json} == {("code", "check", "severity", "text", "remedy")}
    assert {finding["severity"] for finding in ended.json} == {"ok"}


def test_a_warning_alone_ends_with_0_and_an_error_with_1(pgfleet: Pgfleet, own: Connection, own_dsn: str) -> None:
    pgfleet.monkeypatch.setenv("DATABASE_URL", own_dsn)

    own.execute("update public.schema_migrations set checksum = 'x' where version like 'fixtures/%'")
    warned = pgfleet("doctor")
    own.execute("update public.gpu_types set held_gpus = 1 where gpu_type = 't4'")
    failed, failed_json = pgfleet("doctor"), pgfleet("doctor", "--json")

    assert (warned.code, failed.code, failed_json.code) == (0, 1, 1)
    assert "warning  migrations" in warned.out
    assert "\n                       do: pgfleet migrate applies it again\n" in warned.out
    assert "error    gpu_counters" in failed.out


def test_the_direct_url_is_examined(pgfleet: Pgfleet, healthy_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/pooler")
    monkeypatch.setenv("DATABASE_DIRECT_URL", healthy_dsn)

    assert pgfleet("doctor").code == 0


def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/db")

    ended = pgfleet("doctor")

    assert ended.code == 2
    assert "Can't reach PostgreSQL" in ended.err
    assert "secret" not in ended.err


# --- versions, what is missing, files


def test_versions_are_always_told(conn: Connection) -> None:
    (finding,) = (finding for finding in examine(conn) if finding.check == "versions")

    assert finding.severity is OK
    assert all(name in finding.text for name in ("PostgreSQL ", "PGMQ installed as SQL", "pgfleet 0"))


def test_the_fleet_is_named_where_it_has_a_name(conn: Connection) -> None:
    conn.execute("insert into public.fleet_name (name) values ('eu-1')")

    (finding,) = (finding for finding in examine(conn) if finding.check == "versions")

    assert finding.text.endswith(", fleet eu-1")


@pytest.mark.parametrize(("major", "severity"), [(13, WARNING), (14, OK), (18, OK), (19, WARNING)])
def test_servers_that_are_too_old_or_too_new_are_a_warning(major: int, severity: Severity) -> None:
    finding = supported({"server": f"{major}.1", "major": major, "has_pgmq": True, "pgmq": "1.5.0"})

    assert finding.severity is severity
    assert "PGMQ 1.5.0" in finding.text


def test_what_is_missing_is_an_error(conn: Connection) -> None:
    conn.execute("drop table public.domain_mappings")

    finding = the_one(conn, "schema")

    assert finding == Finding("schema", ERROR, "1 missing: table public.domain_mappings", "pgfleet migrate", "missing")


def test_an_empty_database_is_told_in_findings(empty_dsn: str, pgfleet: Pgfleet) -> None:
    pgfleet.monkeypatch.setenv("DATABASE_URL", empty_dsn)

    ended = pgfleet("doctor", "--json")

    severities = {finding["check"]: finding["severity"] for finding in ended.json}
    assert ended.code == 1
    assert severities["schema"] == "error"
    needy = {
        "migrations",
        "gpu_counters",
        "stuck",
        "nodes",
        "seats",
        "outages",
        "places",
        "hopsworks",
        "disks",
        "tickets",
        "queues",
        "silence",
        "clocks",
        "held back",
        "workers",
        "house",
        "moves",
        "history",
        "feed",
        "subscriptions",
        "states",
        "messages",
        "rights",
        "partitions",
    }
    assert {check for check, severity in severities.items() if severity == "skipped"} == needy


def test_what_does_not_need_the_missing_table_is_examined_all_the_same(conn: Connection) -> None:
    conn.execute("drop table public.dead_letters cascade")
    conn.execute("update public.gpu_types set held_gpus = 1 where gpu_type = 't4'")

    assert the_one(conn, "queues").severity is SKIPPED
    assert the_one(conn, "gpu_counters").severity is ERROR


def test_a_table_of_migrations_that_cannot_be_read_is_an_error(conn: Connection) -> None:
    conn.execute("alter table public.schema_migrations drop column checksum")

    assert the_one(conn, "schema").severity is ERROR


def test_a_table_that_one_may_not_read_is_a_warning(conn: Connection) -> None:
    conn.execute("set role pg_read_all_settings")

    finding = the_one(conn, "gpu_counters")

    assert finding.severity is WARNING
    assert "permission denied" in finding.text


def test_a_lost_connection_is_no_finding(conn: Connection, healthy_dsn: str) -> None:
    with psycopg.connect(healthy_dsn, autocommit=True) as lost:
        conn.execute("select pg_terminate_backend(%s)", (lost.info.backend_pid,))

        with pytest.raises(psycopg.OperationalError):
            examine(lost)


def test_a_check_can_only_read_and_leaves_no_settings_behind(conn: Connection) -> None:
    def write(conn: Connection, _: Limits) -> list[Finding]:
        conn.execute("delete from public.moves")
        return []

    (finding,) = examine(conn, LIMITS, [Check("writer", "written", write)])

    assert finding.severity is WARNING
    assert "read-only transaction" in finding.text
    assert conn.execute("show transaction_read_only").fetchone() == ("off",)
    assert conn.execute("show statement_timeout").fetchone() == ("0",)


def test_an_edited_schema_file_is_an_error_with_its_name(conn: Connection) -> None:
    conn.execute("update public.schema_migrations set checksum = 'x' where version = 'schema/002_reservations'")

    finding = the_one(conn, "migrations")

    assert finding.severity is ERROR
    assert finding.text.startswith("schema/002_reservations.sql was edited")


def test_a_file_recorded_without_a_checksum_and_those_of_others_are_taken_as_they_are(conn: Connection) -> None:
    conn.execute("update public.schema_migrations set checksum = null where version = 'schema/002_reservations'")
    conn.execute("insert into public.schema_migrations (version) values ('20250101_their_own')")

    assert found(conn, "migrations") == []


def test_a_newer_database_is_an_error(conn: Connection) -> None:
    conn.execute("insert into public.schema_migrations (version) values ('schema/777_from_the_future')")

    finding = the_one(conn, "migrations")

    assert finding.severity is ERROR
    assert "newer database: it has seen schema/777_from_the_future" in finding.text


# --- settings


@pytest.mark.usefixtures("durable_server")
@pytest.mark.parametrize("path", [None, "public", "hopsworks, public, autoscaler, clusters"])
def test_a_search_path_without_all_four_in_their_order_is_a_warning(
    conn: Connection, healthy_dsn: str, path: str | None
) -> None:
    name = name_of(healthy_dsn)
    conn.execute(f"alter database {name} {f'set search_path = {path}' if path else 'reset search_path'}")

    finding = the_one(conn, "settings")

    assert finding.severity is WARNING
    assert finding.remedy == f"alter database {name} set search_path = {SEARCH_PATH}"
    run_remedy(conn, finding.remedy)
    assert found(conn, "settings") == []


@pytest.mark.usefixtures("durable_server")
def test_a_longer_search_path_is_as_good(conn: Connection, healthy_dsn: str) -> None:
    conn.execute(f'alter database {name_of(healthy_dsn)} set search_path = "$user", {SEARCH_PATH}, pgmq')

    assert found(conn, "settings") == []


@pytest.mark.usefixtures("durable_server")
def test_commits_that_do_not_wait_for_the_disk_are_a_warning(own: Connection, own_dsn: str) -> None:
    own.execute(f"alter database {name_of(own_dsn)} set synchronous_commit = off")

    with psycopg.connect(own_dsn, autocommit=True) as later:
        finding = the_one(later, "settings")

    assert finding.severity is WARNING
    assert finding.text.startswith("synchronous_commit is off")


@pytest.mark.parametrize(("name", "severity"), [("fsync", ERROR), ("full_page_writes", WARNING)])
def test_a_server_that_may_lose_its_files_is_told(name: str, severity: Severity) -> None:
    safe = {"database": "db", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}

    (finding,) = durability({**safe, name: "off"})

    assert durability(safe) == []
    assert (finding.severity, finding.text.split()[0]) == (severity, name)


# --- old transactions and bloat


@pytest.mark.parametrize(("limits", "severity"), [(Limits(old_s=0), WARNING), (Limits(0, 0), ERROR)])
def test_an_old_transaction_is_told_with_its_pid_and_without_its_query(
    conn: Connection, healthy_dsn: str, limits: Limits, severity: Severity
) -> None:
    with psycopg.connect(healthy_dsn, application_name="forgetful") as other:
        other.execute("select 'a secret', pg_current_xact_id()")

        pid, user = other.info.backend_pid, other.info.user
        finding = the_one(conn, "transactions", limits)
        assert found(conn, "transactions") == []

    assert finding.severity is severity
    assert f"transaction of {user}, forgetful" in finding.text
    assert "idle in transaction" in finding.text
    assert finding.remedy == f"select pg_terminate_backend({pid})"
    assert "secret" not in str(finding)


def test_a_transaction_that_holds_nothing_back_is_no_trouble(conn: Connection, healthy_dsn: str) -> None:
    with only_one(healthy_dsn, "public.moves", "no"), psycopg.connect(healthy_dsn) as other:
        other.execute("select 1")

        assert found(conn, "transactions", Limits(0, 0)) == []


def test_a_table_that_somebody_has_locked_is_told(conn: Connection, healthy_dsn: str) -> None:
    with psycopg.connect(healthy_dsn, application_name="forgetful") as other:
        other.execute("lock table public.moves in exclusive mode")

        finding = the_one(conn, "transactions", Limits(0))

    assert "forgetful" in finding.text
    assert "keeps others away" in finding.text


def test_transactions_of_other_databases_are_theirs(conn: Connection, empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as other:
        other.execute("select 1")

        assert found(conn, "transactions", Limits(0, 0)) == []


def holding(kind: str, **given: Any) -> dict[str, Any]:
    row = {"kind": kind, "pid": None, "name": "a'b", "quoted": "'a''b'", "state": "inactive"}
    return {**row, "age_s": None, "age_xids": None, **given}


@pytest.mark.parametrize(
    ("row", "severity", "remedy"),
    [
        (holding("prepared", age_s=61.0), WARNING, "rollback prepared 'a''b'"),
        (holding("prepared", age_s=601.0), ERROR, "rollback prepared 'a''b'"),
        (holding("slot", age_xids=100_001), WARNING, "pg_drop_replication_slot('a''b')"),
        (holding("slot", age_xids=10_000_001), ERROR, "pg_drop_replication_slot('a''b')"),
        (holding("replica", age_xids=100_001, pid=7), WARNING, "hot_standby_feedback"),
    ],
)
def test_whatever_else_holds_vacuum_back_is_told(row: dict[str, Any], severity: Severity, remedy: str) -> None:
    finding = holder(row, LIMITS)

    assert finding is not None
    assert finding.severity is severity
    assert remedy in (finding.remedy or "")


@pytest.mark.parametrize("row", [holding("prepared", age_s=59.0), holding("slot", age_xids=5), holding("slot")])
def test_what_is_young_holds_nothing_back(row: dict[str, Any]) -> None:
    assert holder(row, LIMITS) is None


def test_a_queue_full_of_dead_rows_is_a_warning_and_names_who_holds_it_back(own: Connection, own_dsn: str) -> None:
    own.execute("alter table pgmq.q_disk_operations set (autovacuum_enabled = false)")
    # The statistics of a session are there when it has ended.
    with psycopg.connect(own_dsn, autocommit=True) as other:
        other.execute("select pgmq.send('disk_operations', '{}') from generate_series(1, 50)")
        other.execute("delete from pgmq.q_disk_operations")

    limits = Limits(dead_rows=40)
    (alone,) = until(lambda: found(own, "bloat", limits), within_s=10)
    with psycopg.connect(own_dsn) as other:
        other.execute("select pg_current_xact_id()")
        held = the_one(own, "bloat", Limits(dead_rows=40, old_s=0))

    assert (alone.severity, alone.remedy) == (WARNING, "vacuum pgmq.q_disk_operations")
    assert "50 dead rows and 0 live ones" in alone.text
    assert "an old transaction holds it back" in (held.remedy or "")
    assert found(own, "bloat") == []


def test_a_large_table_with_few_messages_is_a_warning(conn: Connection) -> None:
    conn.execute("select pgmq.send('disk_operations', '{}') from generate_series(1, 5000)")

    # An empty queue that autovacuum has been to takes up to 60 kB, with its maps.
    finding = the_one(conn, "bloat", Limits(large_bytes=200_000))

    assert finding.severity is WARNING
    assert "vacuum full pgmq.q_disk_operations" in (finding.remedy or "")


# --- rows against each other


def test_gpus_counted_wrong_are_an_error_and_the_remedy_repairs_them(conn: Connection) -> None:
    conn.execute("alter table public.reservations disable trigger user")
    reserve(conn, gpus_held=2)
    conn.execute("alter table public.reservations enable trigger user")

    finding = the_one(conn, "gpu_counters")

    assert finding.severity is ERROR
    assert finding.text == "h100: 0 GPUs are counted as held, reservations hold 2"
    run_remedy(conn, finding.remedy)
    assert found(conn, "gpu_counters") == []


def test_more_gpus_held_than_there_are_is_an_error(conn: Connection) -> None:
    reserve(conn, gpus_held=2)
    conn.execute("update public.gpu_types set total_cluster_gpus = 1 where gpu_type = 'h100'")

    finding = the_one(conn, "gpu_counters")

    assert finding.severity is ERROR
    assert finding.text == "h100: 2 GPUs are counted as held, of 1"


def seat_taken(conn: Connection) -> None:
    conn.execute("insert into hopsworks.users (id, email) values ('auth0|ada', 'ada@example.org')")
    conn.execute("insert into hopsworks.hopsworks_clusters (name, api_url, api_key) values ('eu', 'https://eu', 'key')")
    conn.execute(
        "insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id, assigned_by, holds_seat)"
        " select 'auth0|ada', id, 'system', true from hopsworks.hopsworks_clusters"
    )


def test_a_seat_that_is_counted_is_no_finding(conn: Connection) -> None:
    seat_taken(conn)

    assert found(conn, "seats") == []


@pytest.mark.parametrize("holds_seat", [True, False])
def test_seats_counted_wrong_are_an_error_that_the_worker_repairs(conn: Connection, *, holds_seat: bool) -> None:
    conn.execute("alter table hopsworks.user_hopsworks_assignments disable trigger user")
    seat_taken(conn)
    conn.execute("update hopsworks.user_hopsworks_assignments set holds_seat = %s", (holds_seat,))

    finding = the_one(conn, "seats")

    assert finding.severity is ERROR
    assert finding.text == "eu: 0 seats are counted as taken, 1 users are assigned (MISMATCH)"
    assert finding.remedy == "a running assignment worker repairs it within five minutes: pgfleet worker assignment"
    assert all(word not in str(finding) for word in ("key", "https"))


@pytest.mark.parametrize(("age_s", "severity"), [(60, WARNING), (180, ERROR)])
def test_a_live_row_without_a_message_is_told_by_how_long_it_is_so(
    conn: Connection, age_s: float, severity: Severity
) -> None:
    row_id = reserve(conn, age_s=age_s)

    finding = the_one(conn, "tickets")

    assert finding.severity is severity
    assert row_id in finding.text
    assert "pgfleet worker reservation" in (finding.remedy or "")


def test_a_stale_ticket_is_no_message(conn: Connection) -> None:
    row_id = reserve(conn, age_s=60)
    send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": 0})

    assert the_one(conn, "tickets").severity is WARNING


@pytest.mark.parametrize("body", [{"action": "advance", "ticket": 1}, {"action": "create_reservation"}])
def test_a_live_row_with_a_message_is_no_finding(conn: Connection, body: dict[str, Any]) -> None:
    row_id = reserve(conn, age_s=60)
    send(conn, QUEUE, {**body, "reservation_id": row_id})

    assert found(conn, "tickets") == []


def test_rows_that_have_just_come_or_have_ended_need_no_message(conn: Connection) -> None:
    reserve(conn)
    over = reserve(conn, age_s=600)
    conn.execute("update public.reservations set reservation_ended = now() where reservation_id = %s", (over,))

    assert found(conn, "tickets") == []


def test_many_rows_without_a_message_are_one_finding(conn: Connection) -> None:
    for _ in range(7):
        reserve(conn, age_s=60)

    finding = the_one(conn, "tickets")

    assert finding.text.startswith("7 live reservations")
    assert finding.text.endswith(" and 2 more")


NEW_KIND = """
insert into public.moves (machine, from_status, to_status, happens_when) values ('lorry_load', '(new)', 'due', 'sent');
create view public.forgotten_lorry_load as
  select 'load-1' as row_id, 7::bigint as ticket, now() as since, true as is_overdue;
"""


def test_a_kind_that_makes_its_view_is_examined_and_swept_without_being_listed(conn: Connection) -> None:
    conn.execute(NEW_KIND)

    finding = the_one(conn, "tickets")

    assert (finding.severity, finding.text) == (ERROR, "1 live loads without a message: load-1")
    assert finding.remedy == "a running lorry worker repairs it within a minute: pgfleet worker lorry"
    assert ask_forgotten(conn, "lorry_load", 10).fetchall() == [("load-1", 7)]


# --- queues, indexes, sequences


def test_open_dead_letters_are_a_warning_until_they_are_answered(conn: Connection) -> None:
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at)"
        " values ('gpu_reservations', 1, '{\"env_vars\": {\"TOKEN\": \"secret\"}}', 'no', now())"
    )

    finding = the_one(conn, "queues")
    conn.execute("update public.dead_letters set answered_at = now(), answer = 'discarded'")

    assert finding.severity is WARNING
    assert finding.text == "gpu_reservations: 1 open dead letter"
    assert finding.remedy == "pgfleet dead --kind gpu_reservations --verdict failure"
    assert found(conn, "queues") == []


@pytest.mark.parametrize("queue", queues())
def test_messages_that_nobody_takes_are_a_warning_that_names_the_worker(conn: Connection, queue: str) -> None:
    send(conn, queue, {"action": "x"})
    assert found(conn, "queues") == []
    conn.execute(f"update pgmq.q_{queue} set vt = now() - interval '301 s', enqueued_at = now() - interval '301 s'")

    finding = the_one(conn, "queues")

    assert finding.severity is WARNING
    assert "no worker consumes it" in finding.text
    assert finding.remedy == f"pgfleet worker {queues()[queue]}"
    assert sorted(queues().values()) == kinds()


def test_messages_of_a_kind_that_this_version_does_not_have_are_a_warning_too(conn: Connection) -> None:
    conn.execute("select public.create_fleet_queue('of_a_later_version')")
    send(conn, "of_a_later_version", {"action": "x"})
    conn.execute(
        "update pgmq.q_of_a_later_version set vt = now() - interval '301 s', enqueued_at = now() - interval '1 h'"
    )

    finding = the_one(conn, "queues")

    assert finding.remedy == "this version of pgfleet has no worker for it"


def test_messages_put_off_and_queues_of_others_are_no_finding(conn: Connection) -> None:
    conn.execute("select pgmq.create('theirs')")
    send(conn, "theirs", {})
    conn.execute("update pgmq.q_theirs set vt = now() - interval '1 day'")
    send(conn, QUEUE, {})
    conn.execute(
        "update pgmq.q_gpu_reservations set vt = now() + interval '1 day', enqueued_at = now() - interval '9 h'"
    )

    assert found(conn, "queues") == []


def test_an_index_whose_build_failed_is_an_error_and_what_a_rebuild_left_is_to_be_dropped(own: Connection) -> None:
    for name in ("twins", "twins_ccnew"):
        with suppress(psycopg.errors.UniqueViolation):
            own.execute(f"create unique index concurrently {name} on public.moves (machine)")

    failed, left = found(own, "indexes")
    run_remedy(own, left.remedy)

    text, remedy = "public.twins is not valid", "reindex index concurrently public.twins"
    assert failed == Finding("indexes", ERROR, text, remedy)
    assert left.remedy == "drop index concurrently public.twins_ccnew"
    assert found(own, "indexes") == [failed]


@pytest.mark.parametrize("kind", ["integer generated always as identity", "serial", "smallserial"])
def test_an_integer_key_that_runs_out_of_numbers_is_a_warning_and_the_remedy_helps(conn: Connection, kind: str) -> None:
    conn.execute(f"create table public.small (id {kind})")
    most = 32767 if kind == "smallserial" else 2147483647
    conn.execute("select setval('public.small_id_seq', %s)", (most // 2,))
    assert found(conn, "sequences") == []
    conn.execute("select setval('public.small_id_seq', %s)", (most // 2 + 2,))

    finding = the_one(conn, "sequences")
    run_remedy(conn, (finding.remedy or "").partition(" (")[0])

    assert finding.severity is WARNING
    assert finding.text == "public.small.id has used 50% of its numbers"
    assert found(conn, "sequences") == []


def test_the_number_of_the_feeds_timeline_is_no_key_that_runs_out(conn: Connection) -> None:
    # With the WAL's timeline in its upper half, as whoever looks at a server notes it.
    conn.execute("select setval('public.status_history_timeline_seq', (1::bigint << 32) + 1)")

    assert found(conn, "sequences") == []


def test_a_bigint_key_has_numbers_enough(conn: Connection) -> None:
    conn.execute("create table public.large (id bigserial)")
    conn.execute("select setval('public.large_id_seq', 5000000000)")

    assert found(conn, "sequences") == []
