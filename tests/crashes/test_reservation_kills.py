"""Workers killed at any moment, again and again, while reservations come and go."""

import random
import time
from collections.abc import Iterator

import pytest

from crashes.test_reservation_crashes import QUICK, SHORT, all_ended, assert_nothing_left
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from worlds.fleet import Connection, kill, until, worker_process
from worlds.reservations import ask, create


@pytest.fixture
def box() -> Iterator[Box]:
    with sandbox.spawned(["h100:2x8"], ready_delay_s=0.1, termination_delay_s=0.05, scheduling_retry_s=0.1) as running:
        yield running


def test_workers_killed_at_random_and_restarted_lose_nothing(dsn: str, conn: Connection, box: Box) -> None:
    dice = random.Random(7)
    rows = [create(conn, duration_hours=SHORT, gpu_count=dice.choice((1, 2, 4, 8))) for _ in range(60)]
    for row_id in rows[::7]:
        ask(conn, "cancel", row_id)
    for _ in range(4):
        with worker_process(dsn, box, **QUICK) as one, worker_process(dsn, box, **QUICK):
            time.sleep(1 + dice.random() * 1.5)  # any moment will do: that is the point
            kill(one)

    with worker_process(dsn, box, **QUICK):
        until(lambda: all_ended(conn, len(rows)), within_s=90, what="the end of all rows")

    assert_nothing_left(conn, box)
