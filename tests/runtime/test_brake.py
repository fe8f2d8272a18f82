"""A kind that is paused: its messages stay in the queue, also those that are sent by the clock, until it goes on."""

from collections.abc import Iterator

import pytest

from pgfleet.schema.queue import periodic
from pgfleet.workers.runtime.work import work
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small


@pytest.fixture(autouse=True)
def paused(small: Small) -> Iterator[None]:
    small.conn.execute("insert into public.pauses (what, by_whom) values (%s, 'ops')", (QUEUE,))
    yield
    small.conn.execute("delete from public.pauses")


def resume(small: Small) -> None:
    small.conn.execute("delete from public.pauses")


def test_nothing_is_claimed_of_a_paused_queue_until_it_goes_on(small: Small) -> None:
    small.job()
    small.send(do(1))

    while_paused = small.worker.run()
    status = small.status()
    resume(small)
    small.worker.run()

    assert while_paused == 0
    assert status == "ready"
    assert small.status() == "running"


def test_what_a_worker_has_in_hand_is_brought_to_its_end(small: Small) -> None:
    small.job()
    small.send(do(1))
    resume(small)
    tasks = small.worker.claim()
    small.conn.execute("insert into public.pauses (what, by_whom) values (%s, 'ops')", (QUEUE,))

    work(small.worker.running, tasks)

    assert small.status() == "running"


def test_periodic_work_does_not_pile_up_in_a_paused_queue(small: Small) -> None:
    small.conn.execute(
        "insert into public.periodic (name, queue, message, every, next_at)"
        " values ('small', %s, '{}', '60 seconds', public.fleet_now())",
        (QUEUE,),
    )

    while_paused = periodic.look_after(small.conn, QUEUE, "small@here:1", 0), periodic.send_due(small.conn, QUEUE)
    resume(small)

    assert (while_paused[0].to_send, while_paused[1]) == (False, [])
    assert periodic.look_after(small.conn, QUEUE, "small@here:1", 0).to_send
    assert periodic.send_due(small.conn, QUEUE) == ["small"]


def test_its_workers_are_rung_when_it_goes_on(small: Small) -> None:
    small.conn.execute("listen small_jobs")

    resume(small)

    assert [notice.channel for notice in small.conn.notifies(timeout=1, stop_after=1)] == [QUEUE]
