"""Reminders: due at their time, once, whatever is sent twice."""

from collections.abc import Iterator

import pytest

from pgfleet.producers.reminder import remind
from pgfleet.workers.reminder.machine import KIND
from worlds.database import Connection
from worlds.fleet import Worker, move_clock, settings_for, worker_on


@pytest.fixture
def reminders(dsn: str) -> Iterator[Worker]:
    """A worker in the test's own thread."""
    with worker_on(KIND, settings_for(dsn)) as running:
        yield running


def status_of(conn: Connection, reminder_id: str) -> str:
    [(status,)] = conn.execute("select status from public.reminders where reminder_id = %s", (reminder_id,)).fetchall()
    return str(status)


def test_a_reminder_waits_for_its_time(conn: Connection, reminders: Worker) -> None:
    reminder_id = remind("ada", "stand up", after_s=600, conn=conn)
    reminders.run()
    before = status_of(conn, reminder_id)

    move_clock(conn, 601)
    reminders.run()

    assert (before, status_of(conn, reminder_id)) == ("waiting", "reminded")


def test_a_message_that_cant_be_understood_is_a_dead_letter(conn: Connection, reminders: Worker) -> None:
    conn.execute("""select pgmq.send('reminders', '{"action": "remind", "reminder_id": 7}'::jsonb)""")

    reminders.run()

    [(reason,)] = conn.execute("select reason from public.dead_letters").fetchall()
    assert reason.startswith("reminder_id: must be text")
