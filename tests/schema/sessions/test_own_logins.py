"""A person's own login uses the commands for what is theirs, and is told in a sentence what it may not do."""

import secrets
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from worlds.commands import Pgfleet
from worlds.database import Connection, fresh_database
from worlds.fleet import settings_for, worker_on

GROUPS = ("pgfleet_user", "pgfleet_monitor", None)
ROWS = """
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at, gpu_type, gpu_count)
  select gen_random_uuid(), user_id, 'pending', 1, now(), 'h100', 1 from unnest(%s::text[]) user_id
"""
OWN = (
    *("ls", "ls --all", "types", "usage", "disk ls", "disk create data --size 20"),
    "submit reservation --gpu-type cpu-x86 --disk data --github-user ada --dry-run",
)
OTHERS = (
    *("db status", "migrate", "migrate --check", "nodes ls", "clusters", "hopsworks ls", "queues", "dead list"),
    "simulate fleet --nodes 1 --for 1",
)


@pytest.fixture(scope="module")
def people(server_dsn: str, template: str) -> Iterator[tuple[str, dict[str | None, str]]]:
    """A database with row level security, and a login of each group (and of none) with its name and password."""
    logins = {group: f"own-{uuid.uuid4().hex[:8]}" for group in GROUPS}
    password = secrets.token_urlsafe(16)
    with psycopg.connect(server_dsn, autocommit=True) as admin, fresh_database(server_dsn, template) as dsn:
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute("select public.switch_row_level_security(true)")
            owner.execute(ROWS, ([logins["pgfleet_user"], "bob"],))
        try:
            for group, name in logins.items():
                names = {"name": sql.Identifier(name), "password": sql.Literal(password)}
                admin.execute(sql.SQL("create role {name} login password {password}").format(**names))
                if group is not None:
                    admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(name)))
            host = urlsplit(dsn).netloc.rpartition("@")[2]
            places = {group: f"{name}:{password}@{host}" for group, name in logins.items()}
            yield dsn, {group: urlsplit(dsn)._replace(netloc=place).geturl() for group, place in places.items()}
        finally:
            for name in logins.values():
                admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


@pytest.fixture
def conn(people: tuple[str, dict[str | None, str]]) -> Iterator[Connection]:
    with psycopg.connect(people[0], autocommit=True) as connection:
        yield connection


@pytest.fixture
def own(
    people: tuple[str, dict[str | None, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pgfleet:
    """The commands as a user whose login has the user's name."""
    dsn = people[1]["pgfleet_user"]
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)
    monkeypatch.setenv("PGFLEET_USER", str(urlsplit(dsn).username))
    return pgfleet


def test_a_user_sees_own_reservations_and_how_many_wait(own: Pgfleet) -> None:
    listed, types = own("ls", "--json").json, own("types", "--json").json

    assert [row["user_id"] for row in listed] == [own_name(own)]
    assert next(row["waiting"] for row in types if row["gpu_type"] == "h100") == 2


@pytest.mark.parametrize("command", OWN)
def test_what_is_theirs_ends_well(own: Pgfleet, command: str) -> None:
    ended = own(*command.split())

    assert ended.code == 0, ended.err


@pytest.mark.parametrize("command", OTHERS)
def test_what_is_not_theirs_is_told_in_a_sentence(own: Pgfleet, command: str) -> None:
    ended = own(*command.split())

    assert ended.code in (1, 2)
    assert "permission denied" in ended.err


def test_a_user_submits_extends_and_cancels_for_itself_alone(
    own: Pgfleet, people: tuple[str, dict[str | None, str]], conn: Connection, box: Box
) -> None:
    wanted = ("submit", "reservation", "--gpu-type", "h100", "--gpus", "1", "--hours", "2", "--github-user", "ada")

    sent = own(*wanted)
    assert sent.code == 0, sent.err
    row_id = sent.out.strip()
    assert own(*wanted, "--user", "bob").code == 0
    with worker_on(KIND, settings_for(people[0], box)) as worker:
        worker.run_until(lambda: status(conn, row_id) == "active")
        assert own("extend", row_id, "--hours", "1").code == 0
        assert own("cancel", row_id).code == 0
        worker.run_until(lambda: status(conn, row_id) == "cancelled")

    refused = conn.execute("select message ->> 'user_id', verdict from public.dead_letters").fetchall()
    assert refused == [("bob", "rejection")]


@pytest.mark.parametrize("group", ["pgfleet_monitor", None])
@pytest.mark.parametrize("command", [*OWN, *OTHERS])
def test_no_login_meets_a_traceback(
    people: tuple[str, dict[str | None, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    group: str | None,
    command: str,
) -> None:
    ended = Pgfleet(people[1][group], monkeypatch, capsys)(*command.split())

    assert ended.code == 0 or "permission denied" in ended.err


def test_nothing_of_the_workers_own_is_sent_in_a_name(people: tuple[str, dict[str | None, str]]) -> None:
    with psycopg.connect(people[1]["pgfleet_user"], autocommit=True) as user:
        name = user.info.user
        for queue, body in (
            ("gpu_reservations", f'{{"action": "advance", "user_id": "{name}", "ticket": -1}}'),
            ("gpu_reservations", '{"action": "admit", "gpu_type": "h100"}'),
            ("node_heartbeats", f'{{"action": "heartbeat", "user_id": "{name}"}}'),
            # Another's account by its number, and an end of one's own suspension.
            ("cluster_assignments", f'{{"action": "close_account", "user_id": "{name}", "account_id": 1}}'),
            ("cluster_assignments", f'{{"action": "reactivate", "user_id": "{name}"}}'),
        ):
            with pytest.raises(psycopg.Error, match=r"permission denied|is not what is sent"):
                user.execute("select pgmq.send(%s, %s::jsonb)", (queue, body))


def test_no_function_sends_for_a_user_past_the_door(
    people: tuple[str, dict[str | None, str]], conn: Connection
) -> None:
    with psycopg.connect(people[1]["pgfleet_user"], autocommit=True) as user:
        body = {"action": "cancel", "reservation_id": str(uuid.uuid4()), "user_id": user.info.user}
        forged = {"pgfleet": {"sent_at": "2020-01-01T00:00:00+00:00"}, "asked_role": "ADMIN"}
        user.execute("select pgmq.send('gpu_reservations', %s, %s)", (Jsonb(body), Jsonb(forged)))
        stamped = {"asked_by": user.info.user, "asked_role": "USER"}

    calls = (
        "select proname from pg_proc where prosecdef and prosrc ~ 'pgmq\\.send' and prorettype <> 'trigger'::regtype"
    )
    let = conn.execute(f"{calls} and has_function_privilege('pgfleet_user', oid, 'execute')").fetchall()
    queued = "select headers from pgmq.q_gpu_reservations where message ->> 'reservation_id' = %s"
    assert conn.execute(queued, (body["reservation_id"],)).fetchall() == [(stamped,)]
    # It sends an internal message, of which the caller says nothing, and only for whose row it is.
    assert let == [("ask_for_logs",)]
    assert conn.execute("select to_regprocedure('public.send_own(text, jsonb, jsonb)')").fetchone() == (None,)


def own_name(own: Pgfleet) -> str:
    return own("db", "url").out.partition("//")[2].partition(":")[0]


def status(conn: Connection, row_id: str) -> str | None:
    row = conn.execute("select status from public.reservations where reservation_id = %s", (row_id,)).fetchone()
    return None if row is None else str(row[0])
