"""Everything goes on where the settings of the database and of the login are all as odd as they can be."""

import json
from collections.abc import Iterator

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.producers.heartbeat import heartbeat
from pgfleet.producers.reservation import cancel, create_reservation
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import open_session
from pgfleet.workers.heartbeat.machine import KIND as HEARTBEAT
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import assert_sound, new_id, row_of, settings_for, until, worker_on, worker_process
from worlds.reservations import letters, status_of
from worlds.trouble.odd import odd_database


@pytest.fixture(scope="module")
def odd_dsn(server_dsn: str) -> Iterator[str]:
    with odd_database(server_dsn) as dsn:
        migrate(dsn)
        yield dsn


@pytest.fixture
def conn(odd_dsn: str) -> Iterator[Connection]:
    with open_session(odd_dsn, autocommit=True) as connection:
        yield connection


def test_a_reservation_lives_and_ends(
    odd_dsn: str, conn: Connection, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", odd_dsn)
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)
    row_id = new_id()

    with worker_process(odd_dsn, box, pod_poll_s=0.1, teardown_poll_s=0.1, lease_s=3):
        create_reservation(
            reservation_id=row_id,
            user_id="ada",
            github_user="ada",
            name="grüße",
            gpu_type="h100",
            gpu_count=1,
            duration_hours=4,
        )
        until(lambda: status_of(conn, row_id) == "active", within_s=60, what="its start")
        cancel(reservation_id=row_id, user_id="ada")
        until(lambda: row_of(conn, row_id)["reservation_ended"] is not None, within_s=60, what="its end")

    assert row_of(conn, row_id)["name"] == "grüße"
    assert letters(conn) == []
    assert_sound(conn)


def test_a_heartbeat_is_taken_and_the_silent_are_marked(odd_dsn: str, conn: Connection) -> None:
    node = conn.execute("insert into autoscaler.nodes (name, region) values ('n', 'eu') returning id").fetchone()
    assert node is not None

    # Which triggers fire is for a superuser to set right.
    with worker_on(HEARTBEAT, settings_for(odd_dsn), as_owner=True) as worker:
        heartbeat(conn, id=new_id(), source="autoscaler", node_id=node[0], status="ok", metrics={"cpu_usage": 0.1})
        worker.run()

    heard = "select n.status::text, m.value from autoscaler.nodes n join autoscaler.metrics m on m.node_id = n.id"
    assert conn.execute(heard).fetchall() == [("ACTIVE", 0.1)]
    assert letters(conn) == []


def test_people_see_what_there_is(
    odd_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pgfleet = Pgfleet(odd_dsn, monkeypatch, capsys)

    said = {" ".join(command): pgfleet(*command) for command in COMMANDS}

    findings = json.loads(said.pop("doctor --json").out)
    assert {command: ended.err for command, ended in said.items() if ended.code != 0} == {}
    # The server of the tests does not wait for its disk; and that the sessions of others fire no triggers is so.
    errors = {
        finding["code"] for finding in findings if finding["severity"] == "error" and "fsync" not in finding["text"]
    }
    assert errors == {"server.no_triggers"}


COMMANDS = [
    *(["migrate"], ["migrate", "--check"], ["doctor", "--json"], ["db", "status"]),
    *(
        ["ls", "--all"],
        ["types"],
        ["queues"],
        ["nodes"],
        ["clusters"],
        ["users"],
        ["usage"],
        ["disk", "ls"],
        ["dead", "list"],
    ),
    ["submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--gpus", "1", "--hours", "2"],
]
