"""An upgrade under way: workers of two versions on one database, and an API that is newer than all workers."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from pgfleet.console import sandbox
from pgfleet.console.local.first_key import serving_dsn
from pgfleet.console.sandbox import Box
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.messages import CONTRACT_HEADER
from upgrades.versions import COLUMN, Version, migrated_by
from worlds.api.program import Program, program
from worlds.fleet import Connection, assert_sound, move_clock, until, worker_process
from worlds.reservations import create

NUMBER = 40
QUICK: dict[str, Any] = {"pod_poll_s": 0.2, "teardown_poll_s": 0.2, "expiry_grace_s": 0}
ENDED = "select count(*) from public.reservations where reservation_ended is not null"
BY_WHOM = "select distinct split_part(actor, ':', 2)::int from public.status_history where actor like 'reservation@%'"
TWICE = """
select row_id, msg_id from public.status_history where msg_id is not null and from_status <> to_status
group by row_id, msg_id, machine having count(distinct xmin::text) > 1
"""
WAITS = "select headers from pgmq.q_gpu_reservations"
LETTERS = "select reason from public.dead_letters"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with sandbox.spawned(["h100:4x8"], ready_delay_s=0.05, termination_delay_s=0.05) as running:
        yield running


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    """This version's database."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("update public.gpu_types set total_cluster_gpus = 32 where gpu_type = 'h100'")
        yield conn


@contextmanager
def of(version: Version | None) -> Iterator[None]:
    """Processes that are started meanwhile are of this version; None is our own."""
    with mock.patch.dict(os.environ):
        os.environ.pop("PYTHONPATH", None)
        os.environ.update({} if version is None else version.environment)
        yield


def value(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def descendants(process: subprocess.Popen[bytes]) -> set[int]:
    return {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}


def test_workers_of_two_versions_share_a_queue_and_nothing_is_lost_or_done_twice(
    dsn: str, conn: Connection, box: Box, newer: Version
) -> None:
    with of(None), worker_process(dsn, box, **QUICK) as old:
        first = create(conn, duration_hours=0.001)
        until(lambda: value(conn, ENDED) == 1, what="the end of the first, by the worker of before")
        migrated_by(newer, dsn)
        assert has_column(conn)
        with of(newer), worker_process(dsn, box, **QUICK) as new:
            ids = [first]

            def one_more() -> None:
                if len(ids) - value(conn, ENDED) < NUMBER:
                    ids.append(create(conn, gpu_count=1, duration_hours=0.001))

            until(lambda: at_work(conn) & descendants(new), what="work of the newer one", work=one_more)
            until(lambda: value(conn, ENDED) == len(ids), what="the end of all")
            assert at_work(conn) & descendants(old)

    assert {row[0] for row in conn.execute("select reservation_id::text from public.reservations")} == set(ids)
    assert conn.execute(TWICE).fetchall() == []
    assert conn.execute(LETTERS).fetchall() == []
    assert box.state()["double_creations"] == 0
    assert_sound(conn)


def at_work(conn: Connection) -> set[int]:
    return {row[0] for row in conn.execute(BY_WHOM)}


def has_column(conn: Connection) -> bool:
    query = "select 1 from information_schema.columns where column_name = %s"
    return bool(conn.execute(query, (COLUMN,)).fetchall())


def test_a_worker_of_before_starts_beside_the_newer_schema_and_does_its_work(
    dsn: str, conn: Connection, box: Box, newer: Version
) -> None:
    """As after `helm rollback`."""
    migrated_by(newer, dsn)
    row_id = create(conn, duration_hours=0.001)

    with of(None), worker_process(dsn, box, **QUICK):
        until(lambda: value(conn, ENDED) == 1, what="the end of it")

    assert {row[0] for row in conn.execute("select reservation_id::text from public.reservations")} == {row_id}
    assert conn.execute(LETTERS).fetchall() == []


def test_what_a_newer_api_has_promised_waits_for_newer_workers_and_is_no_failure(
    dsn: str, conn: Connection, box: Box, newer: Version
) -> None:
    migrated_by(newer, dsn)
    accounts.add(conn, "ada@example.org", username="ada")
    key = keys.make(conn, "ada", hours=1).key
    with of(newer), program(serving_dsn(conn, dsn)) as api:
        with of(None), worker_process(dsn, box, **QUICK):
            row_id = promised(api, key)
            until(lambda: waits_for_a_newer_one(conn), what="a worker of before that leaves it")
            sent_by_sql = create(conn, gpu_count=1, duration_hours=0.001)
            until(lambda: ended(conn, sent_by_sql), what="the end of what the worker of before understands")
            assert shown(api, key, row_id)["status"] == "pending"
        # It is looked at again after a minute, and then less and less often.
        move_clock(conn, 100)
        with of(newer), worker_process(dsn, box, **QUICK):
            until(lambda: shown(api, key, row_id)["status"] == "active", what="a pod, by the newer worker")

    assert conn.execute(LETTERS).fetchall() == []
    assert box.state()["double_creations"] == 0


def promised(api: Program, key: str) -> str:
    body = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 1, "github_user": "ada"}
    answer = httpx.post(
        f"{api.url}/v1/reservations", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    )
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def shown(api: Program, key: str, row_id: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{api.url}/v1/reservations/{row_id}", headers=headers, timeout=60, trust_env=False)
    found: dict[str, str] = answer.json()
    return found


def waits_for_a_newer_one(conn: Connection) -> bool:
    headers = [row[0] for row in conn.execute(WAITS)]
    return any(
        each and each.get(CONTRACT_HEADER, 0) > 1 and each.get("pgfleet", {}).get("waits_for") == "WORKER_TOO_OLD"
        for each in headers
    )


def ended(conn: Connection, row_id: str) -> bool:
    query = "select 1 from public.reservations where reservation_id = %s and reservation_ended is not null"
    return bool(conn.execute(query, (row_id,)).fetchall())
