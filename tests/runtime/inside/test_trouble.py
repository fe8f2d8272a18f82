"""What the database refuses: told once under its name, tried less often, not ready meanwhile; and then it goes on."""

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from pgfleet.schema.database.missing import verify
from pgfleet.schema.errors import FleetError
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.broker import ClaimConsumer
from pgfleet.workers.runtime.inside import trouble as trouble_module
from pgfleet.workers.runtime.inside.rights import check_rights
from pgfleet.workers.runtime.inside.trouble import Trouble
from pgfleet.workers.runtime.outside.readiness import Readiness
from worlds.fleet import Connection, until
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small

DENIED = psycopg.errors.InsufficientPrivilege("permission denied for table q_small_jobs")
ERRORS = [
    DENIED,
    psycopg.errors.UndefinedTable("relation does not exist"),
    psycopg.errors.UndefinedFunction("function does not exist"),
    psycopg.errors.DiskFull("could not extend file"),
    psycopg.errors.OutOfMemory("out of memory"),
    psycopg.errors.TooManyConnections("too many clients"),
    psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction"),
]


def told(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["event"].startswith("database.")]


@pytest.mark.parametrize("error", ERRORS)
def test_what_a_server_refuses_is_told_once_under_its_name(error: psycopg.Error) -> None:
    trouble = Trouble(QUEUE)

    with capture_logs() as logs:
        for _ in range(5):
            trouble.met("claim messages", error)

    (line,) = told(logs)
    assert (line["event"], line["log_level"], line["code"]) == ("database.refuses", "error", error.sqlstate)
    assert line["error"] == f"{type(error).__name__}: {error}"


def test_a_server_that_is_away_is_told_as_such_and_looked_for_every_second() -> None:
    trouble = Trouble(QUEUE)

    with capture_logs() as logs:
        pauses = [trouble.met("claim messages", psycopg.OperationalError("no route")) for _ in range(5)]

    assert [line["event"] for line in told(logs)] == ["database.unreachable"]
    assert pauses == [0, 0.2, 0.4, 0.8, 1.0]


def test_pauses_double_up_to_half_a_minute() -> None:
    trouble = Trouble(QUEUE)

    pauses = [trouble.met("claim messages", DENIED) for _ in range(10)]

    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[-1] == 30
    assert 29 < trouble.pause_s() <= 30


def test_what_is_refused_now_and_then_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trouble = Trouble(QUEUE)

    with capture_logs() as logs:
        for _ in range(121):
            trouble.met("settle", DENIED)
            trouble.over("settle")
            now[0] += 1

    assert [line["event"] for line in told(logs)] == ["database.refuses", "database.works"] * 3


def test_another_error_is_told_and_the_end_says_how_often_it_was_tried() -> None:
    trouble = Trouble(QUEUE)

    with capture_logs() as logs:
        for error in (DENIED, psycopg.errors.DiskFull("full"), DENIED):
            trouble.met("claim messages", error)
        trouble.over("claim messages")
        trouble.over("claim messages")

    assert [line["event"] for line in told(logs)] == ["database.refuses", "database.refuses", "database.works"]
    assert told(logs)[-1]["times"] == 3
    assert (trouble.problems(), trouble.pause_s()) == ([], 0)


def test_what_nobody_has_tried_again_for_minutes_is_no_trouble_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = Trouble(QUEUE)
    trouble.met("settle", psycopg.OperationalError("no route"))
    known = trouble.problems()

    monkeypatch.setattr(trouble_module, "UNTRIED_S", 0)

    assert len(known) == 1
    assert trouble.problems() == []


@pytest.fixture
def revoked(small: Small) -> Iterator[None]:
    """The queue is away, as it is for a role without rights, until the test puts it back."""
    yield
    for renamed in small.all("select 1 from pg_class where relname = 'q_away'"):
        assert renamed
        small.conn.execute("alter table pgmq.q_away rename to q_small_jobs")


@pytest.mark.usefixtures("revoked")
def test_a_consumer_whose_queue_is_taken_away_says_so_once_and_goes_on_when_it_is_back(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble_module, "REFUSED_MOST_S", 0.2)
    msg_id = small.send(do(small.job(1)))
    running = small.worker.running
    consumer = ClaimConsumer(running, claims=1, timeout_s=0.05)
    readiness = Readiness([running], Event(), [running.trouble])
    readiness.run()
    small.conn.execute("alter table pgmq.q_small_jobs rename to q_away")

    with capture_logs() as logs:
        for _ in range(10):
            assert next(consumer) is None
        lacking, gauge = readiness.lacking(), ready()
        small.conn.execute("alter table pgmq.q_away rename to q_small_jobs")
        proxy = until(lambda: next(consumer), within_s=10)

    assert [task.token.msg_id for task in proxy.args[0]] == [msg_id]
    refused = [(line["doing"], line["error"]) for line in told(logs) if line["event"] == "database.refuses"]
    assert "claim messages" in dict(refused)
    assert len(refused) == len(set(refused))
    assert any("small_jobs: can't claim messages since" in problem for problem in lacking)
    assert (gauge, ready(), readiness.lacking()) == (0, 1, [])


def ready() -> float:
    (family,) = metrics.READY.collect()
    return next(sample.value for sample in family.samples if sample.labels["queue"] == QUEUE)


def test_a_message_whose_settling_is_refused_for_lack_of_rights_has_not_failed(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfleet.workers.runtime.running.DRAIN_PATIENCE_S", 0)
    msg_id = small.send(do(small.job(1)))
    small.worker.running.draining.set()
    small.worker.running.leases.lease_s = 90

    def refuse(*_: Any, **__: Any) -> Any:
        raise DENIED

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr("pgfleet.schema.queue.kernel.put_back", refuse)
        small.worker.run_once()

    assert list(small.headers(msg_id)["pgfleet"]) == ["claim"]
    assert small.letters() == []
    assert [line["doing"] for line in told(logs)] == ["settle"]


ROLE = "pgfleet_test_lesser"


def test_a_worker_starts_only_with_its_rights_and_is_told_what_to_grant(dsn: str, conn: Connection) -> None:
    conn.execute("select public.create_fleet_roles(), public.grant_fleet_roles()")
    conn.execute(f"create role {ROLE} login in role pgfleet_worker_reservation")
    try:
        with psycopg.connect(dsn, autocommit=True, user=ROLE) as theirs:
            check_rights(theirs, ["gpu_reservations"])
            conn.execute("revoke select, update on pgmq.q_gpu_reservations from pgfleet_worker_reservation")
            with pytest.raises(FleetError) as told_at_start:
                check_rights(theirs, ["gpu_reservations"])
            conn.execute(f"revoke pgfleet_worker_reservation from {ROLE}")
            with pytest.raises(FleetError) as without_any:
                check_rights(theirs, ["gpu_reservations"])
    finally:
        conn.execute(f"drop role {ROLE}")

    assert f"The login {ROLE} lacks rights" in str(told_at_start.value)
    assert f'grant select, update on pgmq.q_gpu_reservations to "{ROLE}";' in str(told_at_start.value)
    assert f'grant select, insert, update on public.reservations to "{ROLE}";' in str(without_any.value)
    assert f'grant usage on schema pgmq to "{ROLE}";' in str(without_any.value)


def test_a_right_that_was_taken_from_the_role_is_told_to_a_worker_that_starts(dsn: str, conn: Connection) -> None:
    conn.execute("select public.create_fleet_roles(), public.grant_fleet_roles()")
    conn.execute(f"create role {ROLE} login in role pgfleet_worker_reservation")
    conn.execute("revoke update on public.reservations from pgfleet_worker_reservation")
    conn.execute("revoke select on public.moves from pgfleet_worker")
    try:
        with psycopg.connect(dsn, autocommit=True, user=ROLE) as theirs:
            with pytest.raises(FleetError) as told_at_start:
                check_rights(theirs, ["gpu_reservations"])
            conn.execute("select public.grant_fleet_roles()")
            check_rights(theirs, ["gpu_reservations"])
    finally:
        conn.execute(f"drop role {ROLE}")

    assert f'  grant update on public.reservations to "{ROLE}";' in str(told_at_start.value)
    assert f'  grant select on public.moves to "{ROLE}";' in str(told_at_start.value)


def test_what_a_worker_is_told_to_grant_is_all_that_it_needs(dsn: str, conn: Connection) -> None:
    conn.execute("select public.create_fleet_roles(), public.grant_fleet_roles()")
    conn.execute(f"create role {ROLE} login")
    try:
        with psycopg.connect(dsn, autocommit=True, user=ROLE) as theirs:
            with pytest.raises(FleetError) as told_at_start:
                check_rights(theirs, ["node_heartbeats"])
            for line in str(told_at_start.value).splitlines():
                if line.startswith("  grant"):
                    conn.execute(line.encode())

            check_rights(theirs, ["node_heartbeats"])
            assert verify(theirs) == []
            assert theirs.execute("select public.keep_house() is not null").fetchone() == (True,)
            theirs.execute("select nextval('autoscaler.metrics_id_seq')")
    finally:
        conn.execute(f"drop owned by {ROLE}")
        conn.execute(f"drop role {ROLE}")
