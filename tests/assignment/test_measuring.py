"""Each cluster is measured once a slot; a slot that could not be measured is lost, on record, and holds up nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgfleet.console.sandbox import Box
from pgfleet.schema.assignment import QUEUE
from pgfleet.workers.clients.kubernetes.usage import USERNAME
from worlds.database import Connection
from worlds.fleet import Worker, new_id, send
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import Api, until
from worlds.outside.usage import (
    ADA,
    BOB,
    add_cluster,
    add_user,
    assign,
    billing_worker,
    dead,
    queued,
    rows,
    send_bill,
    set_clock,
)

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

NOW, SLOT = "2030-03-05 12:04", "2030-03-05T12:00:00+00:00"
NOWHERE = '{"current-context": "geheim"}'
FAILURES = """
select failures, details, resolved_at is not null, first_failed_at < last_failed_at
from hopsworks.health_check_failures where check_name = 'metrics' order by first_failed_at
"""
SAMPLES = "select slot at time zone 'UTC', used from hopsworks.usage_samples order by slot"


@pytest.fixture
def cluster(conn: Connection, box: Box) -> str:
    set_clock(conn, NOW)
    return add_cluster(conn, Path(box.kubeconfig).read_text(encoding="utf-8"))


@pytest.fixture
def worker(dsn: str, cluster: str) -> Iterator[Worker]:
    with billing_worker(dsn) as running:
        yield running


@pytest.fixture
def ada(conn: Connection, cluster: str, v1: Api) -> str:
    """Ada, who uses 1.2 CPUs and 4 GPUs there; and somebody with a username that is nobody's."""
    add_user(conn)
    assign(conn, cluster)
    for name, username in (("a", "ada10000"), ("b", "stranger")):
        run(v1, name, username)
    return ADA


def run(v1: Api, name: str, username: str) -> None:
    body = sandbox_cluster.pod(name, 4, labels={USERNAME: username}, annotations={"sandbox/cpu": "1200m"})
    v1.create_namespaced_pod("default", body)
    until(lambda: v1.read_namespaced_pod(name, "default").status.phase, lambda phase: phase == "Running")


def measure(conn: Connection, worker: Worker, cluster: str, slot: str = SLOT) -> None:
    send(conn, QUEUE, {"action": "measure_cluster", "cluster_id": cluster, "slot": slot})
    worker.run()


def use(conn: Connection) -> list[Any]:
    return [row[1] for row in rows(conn, SAMPLES)]


def test_every_cluster_with_a_kubeconfig_is_measured_for_this_slot_and_the_next(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    resting, off = add_cluster(conn, NOWHERE), add_cluster(conn, NOWHERE)
    conn.execute("update hopsworks.hopsworks_clusters set status = 'maintenance' where id = %s", (resting,))
    conn.execute("update hopsworks.hopsworks_clusters set status = 'inactive' where id = %s", (off,))
    add_cluster(conn)
    add_cluster(conn, "")
    send(conn, QUEUE, {"action": "measure"})

    worker.run_once()

    sent = rows(
        conn,
        "select message ->> 'cluster_id', message ->> 'slot', to_char(vt at time zone 'UTC', 'HH24:MI')"
        f" from pgmq.q_{QUEUE}",
    )
    slots = [(SLOT, "12:04"), ("2030-03-05T12:05:00+00:00", "12:05")]
    assert sorted(sent) == [(each, *slot) for each in sorted([cluster, resting]) for slot in slots]


def test_no_slot_is_left_out_when_looks_come_late_in_one_and_early_in_the_next_but_one(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    for moment in ("11:59:59", "12:05:01", "12:09:59", "12:15:01"):
        set_clock(conn, f"2030-03-05 {moment}")
        send(conn, QUEUE, {"action": "measure"})
        worker.run()

    assert [f"{row[0]:%H:%M}" for row in rows(conn, SAMPLES)] == ["11:55", "12:00", "12:05", "12:10", "12:15"]


def test_what_users_use_now_stands_for_the_slot(conn: Connection, worker: Worker, cluster: str, ada: str) -> None:
    measure(conn, worker, cluster)

    assert use(conn) == [{ADA: {"cpu_hours": 0.1, "gpu_hours": 0.333333333}}]
    assert rows(conn, "select slot = %s::timestamptz from hopsworks.usage_samples", SLOT) == [(True,)]
    set_clock(conn, "2030-03-06 01:00")
    send_bill(conn, "2030-03-05")
    worker.run()
    assert rows(conn, "select gpu_hours, cpu_hours from hopsworks.usage_daily") == [
        (rows(conn, "select 0.333333::numeric")[0][0], rows(conn, "select 0.1::numeric")[0][0])
    ]


def test_a_username_counts_on_its_own_cluster_only(conn: Connection, worker: Worker, cluster: str, ada: str) -> None:
    elsewhere = add_cluster(conn)
    assign(conn, elsewhere, add_user(conn, BOB), "stranger")
    measure(conn, worker, cluster)

    assert [set(used) for used in use(conn)] == [{ADA}]


def test_a_cluster_that_nobody_uses_has_a_sample_too(conn: Connection, worker: Worker, cluster: str) -> None:
    measure(conn, worker, cluster)

    assert use(conn) == [{}]


@pytest.mark.parametrize("slot", [SLOT, "2030-03-05T13:00:00+01:00"])
def test_a_slot_is_measured_once(conn: Connection, worker: Worker, cluster: str, ada: str, slot: str) -> None:
    measure(conn, worker, cluster)
    conn.execute("update hopsworks.usage_samples set id = gen_random_uuid(), used = '{}'")
    measure(conn, worker, cluster, slot)

    assert use(conn) == [{}]
    assert dead(conn) == queued(conn) == []


def test_two_workers_at_once_measure_a_slot_once(conn: Connection, dsn: str, cluster: str, ada: str) -> None:
    with (
        billing_worker(dsn) as other,
        billing_worker(dsn, [lambda: measure(conn, other, cluster)]) as worker,
    ):
        measure(conn, worker, cluster)

    assert len(use(conn)) == 1
    assert dead(conn) == queued(conn) == []


@pytest.mark.parametrize(("now", "samples"), [("12:09:59", 1), ("12:10:00", 0)])
def test_nobody_can_measure_the_past(conn: Connection, worker: Worker, cluster: str, now: str, samples: int) -> None:
    set_clock(conn, f"2030-03-05 {now}")
    measure(conn, worker, cluster)

    assert len(use(conn)) == samples
    assert rows(conn, FAILURES) == dead(conn) == queued(conn) == []


@pytest.mark.parametrize(
    ("slot", "reason"),
    [
        ("2030-03-05T12:00:00", "with its zone"),
        ("2030-03-05T12:05:00+00:00", "future"),
        ("2030-03-05T12:01:00+00:00", "5 minutes"),
        ("9999-12-31T23:59:59-14:00", "future"),
    ],
)
def test_what_is_no_slot_is_refused(conn: Connection, worker: Worker, cluster: str, slot: str, reason: str) -> None:
    measure(conn, worker, cluster, slot)

    assert use(conn) == []
    assert [reason in told for told in dead(conn)] == [True]


def test_a_cluster_that_is_gone_or_measured_no_more_is_left_alone(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    conn.execute("update hopsworks.hopsworks_clusters set kubeconfig = null")
    for each in (cluster, new_id()):
        measure(conn, worker, each)

    assert use(conn) == dead(conn) == queued(conn) == rows(conn, FAILURES) == []


def test_a_slot_that_is_lost_is_on_record_once_and_resolved_by_the_next_that_is_not(
    conn: Connection, worker: Worker, cluster: str, box: Box
) -> None:
    box.fault("/apis/metrics", status=503, times=2)
    measure(conn, worker, cluster)
    (first,) = rows(conn, FAILURES)
    assert first == (
        1,
        "Kubernetes answered 503 Service Unavailable to the question for the metrics of its pods",
        False,
        False,
    )

    set_clock(conn, "2030-03-05 12:06")
    measure(conn, worker, cluster, "2030-03-05T12:05:00+00:00")
    assert [(row[0], row[2], row[3]) for row in rows(conn, FAILURES)] == [(2, False, True)]

    set_clock(conn, "2030-03-05 12:11")
    measure(conn, worker, cluster, "2030-03-05T12:10:00+00:00")
    assert [(row[0], row[2]) for row in rows(conn, FAILURES)] == [(2, True)]
    assert [f"{row[0]:%H:%M}" for row in rows(conn, SAMPLES)] == ["12:10"]
    assert dead(conn) == queued(conn) == []


def test_after_it_was_resolved_a_failure_is_a_new_one(conn: Connection, worker: Worker, cluster: str, box: Box) -> None:
    for minute, fails in ((0, True), (5, False), (10, True)):
        set_clock(conn, f"2030-03-05 12:{minute + 1:02}")
        if fails:
            box.fault("/api/v1/pods", drop=True, times=1)
        measure(conn, worker, cluster, f"2030-03-05T12:{minute:02}:00+00:00")

    assert [row[0] for row in rows(conn, FAILURES)] == [1, 1]


@pytest.mark.parametrize(
    ("kubeconfig", "reason"),
    [
        (NOWHERE, "the kubeconfig's current context is not in it"),
        ("geheim", "the kubeconfig is no YAML mapping"),
        (None, "Kubernetes did not answer for the metrics of its pods: NewConnectionError"),
    ],
)
def test_a_cluster_that_can_not_be_measured_holds_up_nothing(
    conn: Connection, dsn: str, cluster: str, box: Box, kubeconfig: str | None, reason: str
) -> None:
    text = kubeconfig or Path(box.kubeconfig).read_text(encoding="utf-8").replace(box.url, "http://127.0.0.1:9")
    conn.execute("update hopsworks.hopsworks_clusters set kubeconfig = %s", (text,))
    with billing_worker(dsn) as worker:
        measure(conn, worker, cluster)

    assert [row[1] for row in rows(conn, FAILURES)] == [reason]
    assert dead(conn) == queued(conn) == []


def test_a_hanging_cluster_costs_its_timeout(conn: Connection, dsn: str, cluster: str, box: Box) -> None:
    box.fault("/apis/metrics", delay_s=300, times=1)
    with billing_worker(dsn, timeout_s=0.2) as worker:
        measure(conn, worker, cluster)

    assert ["ReadTimeoutError" in row[1] for row in rows(conn, FAILURES)] == [True]


def test_two_workers_that_fail_at_once_make_one_record(conn: Connection, dsn: str, cluster: str) -> None:
    conn.execute("update hopsworks.hopsworks_clusters set kubeconfig = %s", (NOWHERE,))
    with (
        billing_worker(dsn) as other,
        billing_worker(dsn, [lambda: measure(conn, other, cluster)]) as worker,
    ):
        measure(conn, worker, cluster)
        set_clock(conn, "2030-03-05 12:05")
        worker.run()

    assert [row[0] for row in rows(conn, FAILURES)] == [2]
    assert dead(conn) == queued(conn) == []
