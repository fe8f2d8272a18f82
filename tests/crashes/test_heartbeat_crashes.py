"""Heartbeat workers that are killed, and many at once: nothing is lost, nothing counts twice, one leads at a time."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgfleet.workers.heartbeat.machine import KIND
from worlds.clusters import cluster_row, create, events, promote
from worlds.fleet import REPOSITORY, kill, settings_for, until, worker_environment, worker_on, worker_process
from worlds.heartbeats import Heart, heart_in, pool
from worlds.trouble import kill_at

QUICK: dict[str, Any] = {"lease_s": 1.5, "backoff_s": 0.1}
POINTS = [
    ("pgfleet.schema.queue.claims:claim", "after"),
    ("pgfleet.schema.queue.kernel:delete", "after"),
    ("pgfleet.workers.heartbeat.calls:take", "after"),
    ("pgfleet.workers.runtime.bulk:_commit", "after"),
]


def sent(heart: Heart) -> list[tuple[int, list[str]]]:
    """Twenty nodes with three heartbeats each, all in the queue; the nodes with the ids of theirs."""
    nodes = [heart.node() for _ in range(20)]
    bodies = {node: [heart.beat(node, -ago, pools=[pool(f"of-{node}")]) for ago in (3, 2, 1)] for node in nodes}
    heart.send(*(body for three in zip(*bodies.values(), strict=True) for body in three))
    return [(node, sorted(body["id"] for body in three)) for node, three in bodies.items()]


def waiting(heart: Heart) -> int:
    return int(heart.one("select count(*) from pgmq.q_node_heartbeats where message ->> 'action' = 'heartbeat'"))


def assert_each_counted_once(heart: Heart, expected: list[tuple[int, list[str]]]) -> None:
    assert heart.letters() == []
    assert [(node, sorted(heart.kept(node))) for node, _ in expected] == expected
    for node, _ in expected:
        assert heart.status(node) == "ACTIVE"
        assert len(heart.history(node)) == 1
        assert len(heart.analytics(f"of-{node}")) == 3


@pytest.mark.parametrize(("point", "when"), POINTS)
def test_a_worker_killed_at_any_point_loses_nothing_and_counts_nothing_twice(
    dsn: str, tmp_path: Path, point: str, when: str
) -> None:
    with heart_in(dsn) as heart:
        expected = sent(heart)
        marker = tmp_path / "killed"
        armed = [sys.executable, kill_at.__file__, str(marker), point, when, "1"]
        doomed = subprocess.Popen(
            [*armed, "pgfleet.workers.heartbeat", "-p", "1", "-t", "2"],
            env=worker_environment(dsn, None, **QUICK) | {"PYTHONPATH": str(REPOSITORY)},
            cwd=REPOSITORY,
            start_new_session=True,
        )
        try:
            until(marker.exists, within_s=20, what=f"death at {point}")
        finally:
            kill(doomed)

        with worker_process(dsn, None, "pgfleet.workers.heartbeat", **QUICK):
            until(lambda: not waiting(heart), within_s=20, what=f"an empty queue after {point}")

        assert_each_counted_once(heart, expected)


def test_a_worker_killed_in_the_middle_of_many_claims_loses_nothing(dsn: str) -> None:
    with heart_in(dsn) as heart:
        expected = sent(heart)
        with worker_process(dsn, None, "pgfleet.workers.heartbeat", **QUICK) as one:
            until(lambda: waiting(heart) < 60, within_s=20, what="the first claim")
            kill(one)
        with worker_process(dsn, None, "pgfleet.workers.heartbeat", **QUICK):
            until(lambda: not waiting(heart), within_s=20, what="an empty queue")

        assert_each_counted_once(heart, expected)


@pytest.fixture
def heart(dsn: str) -> Iterator[Heart]:
    with heart_in(dsn) as running:
        yield running


def test_fifty_promotions_and_heartbeats_at_once_leave_one_primary_at_a_time(heart: Heart) -> None:
    cluster = create(heart.conn, p_max_nodes=5)
    nodes = [heart.cluster_node(cluster) for _ in range(5)]
    heart.tell(*(heart.beat(node, -60, cpu_usage_percent=5) for node in nodes))
    for number in range(25):
        heart.send(
            *(
                heart.beat(n, number - 50, cpu_usage_percent=95 if (number + i) % 7 == 0 else 5, status="ok")
                for i, n in enumerate(nodes)
            )
        )

    def promoted(number: int) -> str | None:
        with psycopg.connect(heart.dsn, autocommit=True) as conn:
            try:
                promote(conn, nodes[number % 5])
            except psycopg.Error as error:
                return error.sqlstate
        return None

    def heard(_: int) -> None:
        with worker_on(KIND, settings_for(heart.dsn)) as worker:
            while worker.run_once(7):
                pass

    with ThreadPoolExecutor(8) as threads:
        working = [threads.submit(heard, number) for number in range(3)]
        done = list(threads.map(promoted, range(50)))
        for future in working:
            future.result(60)

    assert set(done) <= {None, "PF010"}
    assert None in done
    assert (heart.queue(), heart.letters()) == ([], [])
    assert_led_by_one(heart, cluster)


def assert_led_by_one(heart: Heart, cluster: str) -> None:
    """Each epoch has its change of leaders, each primary follows the one before, and the last one may lead."""
    told = [
        (details["epoch"], node, details["previous"])
        for _, _, node, details in events(heart.conn, cluster, "PRIMARY_CHANGED")
    ]
    others = {details["epoch"] for *_, details in events(heart.conn, cluster, "COORDINATOR_CHANGED")}
    now = cluster_row(heart.conn, cluster)
    primary, epoch = now["primary_node_id"], now["epoch"]
    assert others | {number for number, *_ in told} == set(range(1, epoch + 1))
    assert len({number for number, *_ in told}) == len(told)
    assert [node for _, node, _ in [(0, None, None), *told]][:-1] == [previous for *_, previous in told]
    row = heart.row(primary)
    assert (row["status"], told[-1][1]) == ("online", primary)
