"""What people put into a command and into variables is told to nobody: not in logs, not in tables, not on a screen."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import sql
from structlog.testing import capture_logs

from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.reservations import reservations
from pgfleet.workers.reservation.secrets import keeping_secrets
from pgfleet.workers.runtime.outcomes import Advance, Move, NeverError, NoPlaceError, Outcome, TryAgainError, wait
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker
from worlds.reservations import create, reach

CANARY = "canary-7f3a91c2"
# What a reservation is made of, what its pod wrote, and the messages themselves.
KEEPERS = {"public.reservations": ["env_vars", "command", "pod_logs"], "public.dead_letters": ["message"]}
SHOWN = (
    *(("ls",), ("ls", "--json"), ("dead", "ls"), ("dead", "ls", "--json"), ("dead", "reasons"), ("dead", "show", "1")),
    *(("dead", "show", "1", "--json"), ("doctor",), ("doctor", "--json"), ("queues",), ("queues", "--json")),
)
WITH_SECRETS: dict[str, Any] = {"command": f"exec /srv/{CANARY} --serve", "env_vars": {"TOKEN": CANARY}}
REFUSED: list[dict[str, Any]] = [
    {"env_vars": {"TOKEN": 1, "OTHER": CANARY}},
    {"env_vars": {"TOKEN": [CANARY]}},
    {"env_vars": CANARY},
    {"env_vars": [CANARY]},
    {"env_vars": {"NVIDIA_VISIBLE_DEVICES": CANARY}},
    {"command": [CANARY]},
    {"command": {"run": CANARY}},
    {"command": CANARY * 10_000},
    {**WITH_SECRETS, "gpu_count": 3},
    {**WITH_SECRETS, "gpu_type": "nope"},
]


def in_tables(conn: Connection) -> Iterator[str]:
    """All that is written, but where it has to be."""
    tables = conn.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('public', 'autoscaler', 'pgmq')"
    ).fetchall()
    for schema, name in tables:
        keeps = ["message"] if schema == "pgmq" else KEEPERS.get(f"{schema}.{name}", [])
        query = sql.SQL("select (to_jsonb(t) - %s::text[])::text from {} t").format(sql.Identifier(schema, name))
        yield from (row[0] for row in conn.execute(query, (keeps,)))


def on_screens(pgfleet: Pgfleet, *row_ids: str) -> Iterator[str]:
    for arguments in (*SHOWN, *(("watch", each, "--once", "--json") for each in row_ids)):
        yield str(pgfleet(*arguments))


@pytest.fixture
def fleet_dsn(dsn: str) -> str:
    """The database of the worker is that of the commands."""
    return dsn


def test_a_refused_message_tells_no_secret(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_ids = [create(conn, **fields) for fields in REFUSED]

    with capture_logs() as logged:
        worker.run()

    told = [*in_tables(conn), *on_screens(pgfleet, *row_ids), str(logged)]
    rejected = conn.execute("select count(*) from public.dead_letters where verdict = 'rejection'").fetchone()
    assert rejected == (len(REFUSED),)
    assert [text for text in told if CANARY in text] == []


def test_a_message_in_the_queue_is_watched_without_its_secrets(
    pgfleet: Pgfleet, conn: Connection, worker: Worker
) -> None:
    row_id = create(conn, **WITH_SECRETS)
    worker.run_until(lambda: conn.execute("select from public.reservations").fetchall())
    create(conn, reservation_id=row_id, **WITH_SECRETS)

    shown = pgfleet("watch", row_id, "--once", "--json")

    assert '"create_reservation"' in shown.out
    assert CANARY not in str(shown)


def test_a_pod_that_fails_tells_no_secret(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = create(conn, **WITH_SECRETS, dockerimage="sandbox/run-error")
    with capture_logs() as logged:
        reach(conn, worker, row_id, "preparing")
        worker.run()
        create(conn, reservation_id=row_id)

    told = [*in_tables(conn), *on_screens(pgfleet, row_id), str(logged)]
    assert [text for text in told if CANARY in text] == []


def quoted(row: Row) -> Outcome:
    shown = f"sh: 1: /srv/{CANARY}: not found"
    return wait(row, shown, row.created_at, failure_reason=shown, refusals=[{"node": "n", "why": shown}])


def failed(row: Row) -> Outcome:
    return Advance((Move(row, Status.FAILED, f"exec {CANARY}", {"failure_reason": CANARY, "pod_logs": CANARY}),))


@pytest.mark.parametrize("step", [quoted, failed])
def test_what_an_outcome_quotes_of_a_secret_is_stars(step: Callable[[Row], Outcome]) -> None:
    row = Row({**WITH_SECRETS, "current_detailed_status": None, "created_at": None}, reservations, "1")

    outcome = keeping_secrets(lambda row, _: step(row))(row, None)  # type: ignore[arg-type]  # it looks at no turn

    (change,) = outcome.changes  # type: ignore[union-attr]  # both have one
    said = {name: value for name, value in change.values.items() if name != "pod_logs"}
    assert CANARY not in f"{said} {change.reason} {getattr(outcome, 'reason', '')}"
    assert "***" in str(said)


@pytest.mark.parametrize("error", [NeverError("x"), TryAgainError("x"), NoPlaceError("QUOTA", "x")], ids=repr)
def test_what_an_error_quotes_of_a_secret_is_stars(error: Exception) -> None:
    row = Row(WITH_SECRETS, reservations, "1")
    error.args = (f"spec.containers[0].env[0].value: Invalid value: {CANARY}",)

    def refused(_row: Row, _turn: Any) -> Outcome:
        raise error

    with pytest.raises(type(error)) as raised:
        keeping_secrets(refused)(row, None)  # type: ignore[arg-type]  # it looks at no turn

    assert str(raised.value) == "spec.containers[0].env[0].value: Invalid value: ***"


def test_a_value_that_is_a_name_of_the_row_leaves_the_name_alone() -> None:
    row = Row({"command": None, "env_vars": {"ME": "gpu-dev-abcdefghij"}}, reservations, "1")

    outcome = keeping_secrets(lambda row, _: Advance((Move(row, None, None, {"pod_name": "gpu-dev-abcdefghij"}),)))(
        row,
        None,  # type: ignore[arg-type]  # it looks at no turn
    )

    assert outcome.changes[0].values == {"pod_name": "gpu-dev-abcdefghij"}  # type: ignore[union-attr]  # it is an Advance
