"""A worker process at its start: what it refuses, and what it shows."""

import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from worlds.fleet import REPOSITORY, Connection, until, worker_environment, worker_process
from worlds.reservations import create, status_of

DRAMATIQ = [sys.executable, "-m", "dramatiq", "pgfleet.workers.reservation", "-p", "1", "-t", "1"]


def started(dsn: str, box: Box | None, **settings: Any) -> subprocess.CompletedProcess[str]:
    environment = worker_environment(dsn, box, **settings)
    return subprocess.run(
        DRAMATIQ, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_worker_lists_all_that_its_database_lacks_and_stops(empty_dsn: str, box: Box) -> None:
    ended = started(empty_dsn, box)

    assert ended.returncode == 2
    for missing in ("table public.reservations", "function public.fleet_now", "queue gpu_reservations"):
        assert missing in ended.stderr
    assert "Run `pgfleet migrate`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_missing_column_is_named(dsn: str, conn: Connection, box: Box) -> None:
    conn.execute("alter table public.reservations drop column oom_count")

    ended = started(dsn, box)

    assert ended.returncode == 2
    assert "column public.reservations.oom_count" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("lease_s", "soon", "PGFLEET_LEASE_S"),
        ("effect_threads", "0", "PGFLEET_EFFECT_THREADS"),
        ("kubeconfig", "/nowhere", "Set PGFLEET_KUBECONFIG"),
    ],
)
def test_a_setting_that_cant_be_used_is_named(dsn: str, box: Box, setting: str, value: str, said: str) -> None:
    ended = started(dsn, box, **{setting: value})

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_cant_be_reached_is_told_without_its_password(box: Box) -> None:
    ended = started("postgresql://ada:hunter2@127.0.0.1:1/nowhere", box)

    assert ended.returncode == 2
    assert "Can't reach PostgreSQL" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_metrics_tell_what_was_claimed_and_settled(dsn: str, conn: Connection, box: Box) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with worker_process(dsn, box, metrics_port=port, pod_poll_s=0.1):
        row_id = create(conn)
        until(lambda: status_of(conn, row_id) == "active", within_s=20)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()

    assert 'pgfleet_claimed_total{queue="gpu_reservations"}' in text
    assert 'pgfleet_settled_total{outcome="advance",queue="gpu_reservations"}' in text
    assert 'pgfleet_settle_seconds_count{queue="gpu_reservations"}' in text
    assert 'pgfleet_queue_messages{queue="gpu_reservations",state="ready"}' in text
    assert 'pgfleet_oldest_ready_age_seconds{queue="gpu_reservations"}' in text
