"""A real Prometheus with the rules, which wait for seconds here: each fault is told, and nothing else is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from worlds.api.login import serving_dsn
from worlds.api.process import Process, serving_process
from worlds.database import Connection
from worlds.fleet import until, worker_process
from worlds.network.ports import free_port
from worlds.reservations import create
from worlds.watching.prometheus import Prometheus, prometheus


@dataclass(frozen=True)
class Fleet:
    """A worker, the API, and who watches them."""

    watched: Prometheus
    serve: Process
    box: Box
    dsn: str
    worker_port: int

    def tells(self, *names: str) -> None:
        """Until those fire, and no others."""
        fired: set[str] = set()

        def told() -> bool:
            fired.clear()
            fired.update(self.watched.firing())
            return fired == set(names)

        try:
            until(told, within_s=60)
        except AssertionError:
            raise AssertionError(f"{fired} fire, not {set(names)}") from None


@pytest.fixture
def fleet(dsn: str, box: Box, tmp_path: Path) -> Iterator[Fleet]:
    port = free_port()
    with (
        serving_dsn(dsn) as own,
        serving_process(own, tmp_path) as serve,
        prometheus(tmp_path, serve.metrics_url.removeprefix("http://"), f"127.0.0.1:{port}") as watched,
    ):
        yield Fleet(watched, serve, box, dsn, port)


@contextmanager
def working(fleet: Fleet) -> Iterator[None]:
    """A worker runs and is ready, and nothing is told."""
    with worker_process(fleet.dsn, fleet.box, metrics_port=fleet.worker_port, pod_poll_s=0.2):
        until(lambda: fleet.watched.values("pgfleet_ready") == [1], within_s=120)
        fleet.tells()
        yield


def test_a_queue_that_nobody_takes_from_is_told_until_a_worker_comes(fleet: Fleet, conn: Connection) -> None:
    create(conn)

    fleet.tells("PgfleetNobodyTakes")

    with working(fleet):
        fleet.tells()


def test_a_cluster_that_does_not_answer_is_told_until_it_does(fleet: Fleet, conn: Connection) -> None:
    with working(fleet):
        fleet.box.outage(status=503)
        create(conn)
        # Watches are gone with all else.
        fleet.tells("PgfleetOutage", "PgfleetBlind")

        fleet.box.clear_faults()
        fleet.tells()


def test_a_pause_is_told_and_strangers_are(fleet: Fleet, conn: Connection) -> None:
    with working(fleet):
        conn.execute("insert into public.pauses (what, by_whom, reason) values ('disk_operations', 'ada', 'x')")
        fleet.tells("PgfleetPaused")

        conn.execute("delete from public.pauses")
        for _ in range(200):
            httpx.get(f"{fleet.serve.url}/v1/me", headers={"Authorization": "Bearer guessed"}, trust_env=False)
        until(lambda: "PgfleetSomebodyGuesses" in fleet.watched.firing(), within_s=60)
        fleet.tells()


def test_a_letter_of_ours_and_events_that_are_held_back_are_told(fleet: Fleet, conn: Connection) -> None:
    with working(fleet), psycopg.connect(fleet.dsn) as held:
        conn.execute("""
            insert into public.dead_letters (queue, msg_id, message, reason, attempts, enqueued_at, verdict)
            values ('disk_operations', 1, '{}', 'ours', 3, now(), 'failure')""")
        fleet.tells("PgfleetDeadLetters")
        conn.execute("update public.dead_letters set answered_at = now(), answered_by = 'ada', answer = 'discarded'")
        fleet.tells()

        held.execute("create table public.held ()")
        create(conn)
        fleet.tells("PgfleetEventsHeldBack")
        held.rollback()
        fleet.tells()


def test_when_the_api_has_ended_nobody_counts(fleet: Fleet) -> None:
    with working(fleet):
        fleet.serve.running.terminate()
        fleet.serve.ended()

        fleet.tells("PgfleetNobodyCounts")
