"""A day of 500 users on a real worker: no GPU is given twice, nobody is forgotten, nobody's promise is moved by others.

What moves one are ends that are late, nodes that are gone, and times in which nodes are not seen: those are counted."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from day.asked import nodes_for, requests, troubles
from day.figures import told, use, waits, within, write_into
from day.going import Day
from day.seen import Seen
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.simulate.line.past import histories
from pgfleet.schema.reads.about import now
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import REPOSITORY, Connection, assert_sound, settings_for, stop_clock, worker_on
from worlds.lines.overcommitted import refuse_overcommitment

REQUESTS = int(os.environ.get("REQUESTS", "300"))
# Of so many the table is worth a page.
WHOLE_DAY = 3000
SEED = 7
GRACE_S = 60
PAGE = REPOSITORY / "bench" / "README.md"
# Times are those of the simulated clock; safety rechecks are seldom, as the watch tells what happens.
SETTINGS: dict[str, Any] = {
    "pod_poll_s": 60,
    "teardown_poll_s": 60,
    "watch_s": 1800,
    "line_recheck_s": 1800,
    "unschedulable_s": 300,
    "expiry_grace_s": GRACE_S,
    "warnings_min": (15,),
    "backoff_s": 30,
    "attempts": 20,
    "effect_threads": 8,
}
SANDBOX: dict[str, Any] = {
    "ready_delay_s": 0.01,
    "termination_delay_s": 0.01,
    "scheduling_retry_s": 0.1,
    "second_s": 0.002,
}
# Failed are those whose node went away, and bookings that another took the place of in the same look.
EXPECTED = {"expired", "cancelled", "failed"}


@pytest.fixture
def day(dsn: str, conn: Connection) -> Iterator[Day]:
    nodes = nodes_for(REQUESTS)
    refuse_overcommitment(conn)
    for gpu_type, number in nodes.items():
        conn.execute("update public.gpu_types set total_cluster_gpus = %s where gpu_type = %s", (8 * number, gpu_type))
    with (
        sandbox.spawned([f"{name}:{number}x8" for name, number in nodes.items()], **SANDBOX) as box,
        worker_on(KIND, settings_for(dsn, box, **SETTINGS), watches=True) as worker,
    ):
        stop_clock(conn)
        yield Day(conn, box, worker, Seen(conn, GRACE_S), list(nodes), now(conn), Random(SEED))


def test_a_day_of_500_users(day: Day, record_property: Callable[[str, object], None]) -> None:
    sent = requests(REQUESTS, SEED)
    began = time.monotonic()

    day.run(sent, troubles(SEED), most_h=60)

    lines = list(report(day, time.monotonic() - began))
    record_property("day", lines)
    assert_sound(day.conn)
    assert_nothing_is_left(day)
    assert_gangs_are_whole(day.conn)
    assert_nobody_went_ahead(day.seen)
    if REQUESTS >= WHOLE_DAY:
        write_into(PAGE, lines)


def assert_nothing_is_left(day: Day) -> None:
    state = day.box.state()
    letters = day.conn.execute(
        "select reason, message from public.dead_letters where verdict <> 'rejection'"
    ).fetchall()
    statuses = day.conn.execute("select distinct status from public.reservations").fetchall()
    assert letters == []
    assert {status for (status,) in statuses} <= EXPECTED
    assert (state["objects"]["pods"], state["objects"]["services"]) == (0, 0)
    assert day.conn.execute("select * from public.stuck_reservations").fetchall() == []
    assert (
        day.conn.execute("select message from pgmq.q_gpu_reservations where vt < public.fleet_now()").fetchall() == []
    )
    assert day.conn.execute("select held_gpus from public.gpu_types where held_gpus <> 0").fetchall() == []


def assert_gangs_are_whole(conn: Connection) -> None:
    """All rows of a gang were let in, and were ready, at one time."""
    apart = conn.execute(
        "select master_reservation_id from public.reservations where master_reservation_id is not null group by 1"
        " having count(distinct coalesce(admitted_at, '-infinity')) > 1"
        " or count(distinct coalesce(launched_at, '-infinity')) > 1"
    ).fetchall()
    assert apart == []


def assert_nobody_went_ahead(seen: Seen) -> None:
    """No head and no booking starts later than it was promised for a backfill, or for who has come later."""
    assert seen.promised
    assert seen.passed == []


def report(day: Day, took_s: float) -> Iterator[str]:
    span = timedelta(hours=day.at_h)
    found = {
        name: within(history, day.begin, 24)
        for name, history in histories(day.conn, day.types, span, timedelta(seconds=GRACE_S)).items()
    }
    rows = Counter(row[0] for row in day.conn.execute("select status from public.reservations"))
    refused = day.conn.execute("select count(*) from public.dead_letters where verdict = 'rejection'").fetchone()
    yield (
        f"{REQUESTS} requests in {day.at_h:.0f} h of the simulated clock, in {took_s:.0f} s: "
        f"{', '.join(f'{number} rows {status}' for status, number in sorted(rows.items()))}; "
        f"{refused[0] if refused else 0} messages refused."
    )
    yield ""
    yield from waits(found.values())
    yield ""
    yield from use(found)
    yield ""
    yield str(told(day.seen, found.values()))
    moved, unexplained = len(day.seen.moved), len(day.seen.passed)
    yield (
        f"{len(day.seen.promised)} heads and bookings were promised a start. Promises moved {moved + unexplained} "
        f"times: {moved} as an end was late, nodes were gone or were not seen, {unexplained} as others went ahead. "
        f"In {len(day.seen.delayed)} of them the head would have started sooner without those who had just gone ahead."
    )
