"""Workers and servers that are killed: every row ends, every pod exists once, and nothing is left behind (I7, I12)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgfleet.console.local import embedded
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.migrate import migrate
from worlds.fleet import REPOSITORY, Connection, assert_sound, kill, until, worker_environment, worker_process
from worlds.reservations import create, status_of
from worlds.trouble import kill_at

QUICK: dict[str, Any] = {
    "lease_s": 1.5,
    "pod_poll_s": 0.1,
    "teardown_poll_s": 0.1,
    "expiry_grace_s": 0,
    "watch_s": 1,
    "line_recheck_s": 5,
    "backoff_s": 0.1,
}
SHORT = 0.0002  # hours

POINTS = [
    ("pgfleet.schema.queue.claims:claim", "after", 3),
    ("pgfleet.workers.runtime.work:work", "before", 2),
    ("pgfleet.workers.clients.ssh_keys:SshKeys.of", "after", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.create", "before", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.create", "after", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.create_keys", "before", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.create_keys", "after", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.create_service", "before", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.create_service", "after", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.node", "after", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.delete_service", "before", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.delete_service", "after", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.delete", "before", 1),
    ("pgfleet.workers.clients.kubernetes.pods:Pods.delete", "after", 1),
    ("pgfleet.workers.runtime.settle:_send", "after", 2),
    ("psycopg:Connection.commit", "before", 2),
    ("psycopg:Connection.commit", "after", 2),
    ("psycopg:Connection.commit", "after", 5),
]


@pytest.fixture(scope="module")
def other_process_box() -> Iterator[Box]:
    nodes = ["h100:2x8"]
    with sandbox.spawned(nodes, ready_delay_s=0.1, termination_delay_s=0.05, scheduling_retry_s=0.1) as box:
        yield box


def all_ended(conn: Connection, number: int) -> bool:
    row = conn.execute("select count(*), count(reservation_ended) from public.reservations").fetchone()
    return row == (number, number)


def assert_nothing_left(conn: Connection, box: Box) -> None:
    assert_sound(conn)
    state = box.state()
    assert state["objects"]["pods"] == 0
    assert state["objects"]["services"] == 0
    assert state["double_creations"] == 0
    assert conn.execute("select sum(held_gpus) from public.gpu_types").fetchone() == (0,)


@pytest.mark.parametrize(("point", "when", "nth"), POINTS)
def test_a_worker_killed_at_any_point_loses_nothing(
    dsn: str, conn: Connection, other_process_box: Box, tmp_path: Path, point: str, when: str, nth: int
) -> None:
    rows = [create(conn, duration_hours=SHORT, gpu_count=4) for _ in range(5)]
    marker = tmp_path / "killed"
    armed = [sys.executable, kill_at.__file__, str(marker), point, when, str(nth)]
    doomed = subprocess.Popen(
        [*armed, "pgfleet.workers.reservation", "-p", "1", "-t", "2"],
        env=worker_environment(dsn, other_process_box, **QUICK),
        cwd=REPOSITORY,
        start_new_session=True,
    )
    assert doomed.wait(60) == -signal.SIGKILL
    assert marker.exists()

    with worker_process(dsn, other_process_box, **QUICK):
        until(lambda: all_ended(conn, len(rows)), within_s=90, what=f"the end of all rows after {point}")

    assert {status_of(conn, row_id) for row_id in rows} == {"expired"}
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)
    assert_nothing_left(conn, other_process_box)


def test_a_restart_of_postgres_costs_a_reconnect_and_nothing_else(short_dir: Path, other_process_box: Box) -> None:
    data = short_dir / "data"
    dsn = embedded.start(data)
    migrate(dsn)
    with worker_process(dsn, other_process_box, **QUICK), worker_process(dsn, other_process_box, **QUICK):
        with psycopg.connect(dsn, autocommit=True) as conn:
            rows = [create(conn, duration_hours=SHORT, gpu_count=2) for _ in range(40)]
            until(lambda: status_of(conn, rows[10]) not in (None, "pending", "queued"), within_s=20)
        embedded.stop(data)
        embedded.start(data)
        with psycopg.connect(dsn, autocommit=True) as conn:
            until(lambda: all_ended(conn, len(rows)), within_s=60, what="the end of all rows")
            assert {status_of(conn, row_id) for row_id in rows} == {"expired"}
            assert_nothing_left(conn, other_process_box)


def test_sigterm_ends_within_the_grace_and_nothing_stays_invisible(
    dsn: str, conn: Connection, other_process_box: Box
) -> None:
    for number in range(40):
        create(conn, github_user="slow-ada" if number % 2 else "ada", gpu_count=1)
    with worker_process(dsn, other_process_box, lease_s=90, effect_threads=4) as process:
        until(lambda: other_process_box.state()["created_pods"] > 0, within_s=20)
        started = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        process.wait(15)
        took_s = time.monotonic() - started

    invisible = conn.execute(
        "select count(*) from pgmq.q_gpu_reservations where read_ct > 0 and vt > statement_timestamp() + interval '5 s'"
    ).fetchone()
    assert invisible == (0,)
    assert took_s < 10


def test_a_killed_workers_message_runs_again_within_its_lease_and_a_second(dsn: str, conn: Connection) -> None:
    conn.execute("update public.periodic set next_at = 'infinity'")
    settings = {**QUICK, "lease_s": 6}
    with (
        sandbox.spawned(["h100:1x8"], slow_keys_s=9) as box,
        worker_process(dsn, box, **settings) as first,
        worker_process(dsn, box, **settings) as second,
    ):
        until(lambda: listeners(conn) == 2, within_s=60, what="both workers")
        # The second one is there, however long that took, and looks away until the first has the message.
        os.killpg(second.pid, signal.SIGSTOP)
        create(conn, github_user="slow-ada", duration_hours=1)
        until(lambda: times_claimed(conn) == 1, within_s=30, what="the first claim")
        os.killpg(second.pid, signal.SIGCONT)
        kill(first)
        killed_at = time.monotonic()
        until(lambda: times_claimed(conn) == 2, within_s=10, what="the second claim")

        assert time.monotonic() - killed_at <= 6 + 1


def times_claimed(conn: Connection) -> int | None:
    row = conn.execute(
        "select read_ct from pgmq.q_gpu_reservations where message->>'action' = 'advance' and message->>'ticket' = '2'"
    ).fetchone()
    return None if row is None else row[0]


def listeners(conn: Connection) -> int | None:
    row = conn.execute(
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
    ).fetchone()
    return None if row is None else row[0]
