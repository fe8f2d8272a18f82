"""The settler: all of a unit or nothing, only by who holds the message, and only on the row as it was loaded."""

import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.schema.queue.kernel import DeadLetter, Outgoing
from pgfleet.workers.runtime.decide import release
from pgfleet.workers.runtime.outcomes import Move
from pgfleet.workers.runtime.settle import PutBack, Unit, settle
from pgfleet.workers.runtime.work import work
from worlds.fleet import PATIENCE_S, move_clock, stop_clock, until
from worlds.small.kind import QUEUE, do
from worlds.small.world import AUTHOR, Small, moving


@pytest.mark.parametrize("how", ["move", "put_back", "bury", "send"])
def test_a_stale_owner_changes_nothing(small: Small, how: str) -> None:
    small.job(1)
    small.send(do(1))
    (first,) = small.worker.claim()
    move_clock(small.conn, 91)
    (second,) = small.worker.claim()
    before = small.all("select * from pgmq.q_small_jobs"), small.all("select *, xmin::text from public.small_jobs")
    units = {
        "move": moving(first, small.row()),
        "put_back": release(first, PutBack(second.claimed.enqueued_at - second.claimed.enqueued_at, None).delay, ""),
        "bury": Unit(first, "reject", "", letter=DeadLetter(first.claimed, "1", "no", 0)),
        "send": Unit(first, "done", "", sends=((QUEUE, Outgoing({"more": 1})),)),
    }

    settled = small.settle(units[how])

    assert settled.lost == [units[how]]
    assert before == (
        small.all("select * from pgmq.q_small_jobs"),
        small.all("select *, xmin::text from public.small_jobs"),
    )
    assert small.letters() == []


def test_the_new_owner_settles_after_the_stale_one_has_tried(small: Small) -> None:
    small.job(1)
    small.send(do(1))
    (first,) = small.worker.claim()
    move_clock(small.conn, 91)
    (second,) = small.worker.claim()

    work(small.worker.running, [first])
    work(small.worker.running, [second])

    assert small.history() == ["ready", "running"]
    assert small.queue() == []


CHANGES = ["status = 'running'", "status_reason = 'x'", "status_msg_id = 7", "note = 'x'", "weight = 1", "note = note"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_any_column_since_the_load_makes_a_unit_stale(small: Small, change: str) -> None:
    small.job(1)
    small.send(do(1))
    tasks = small.worker.claim()
    unit = moving(tasks[0], small.row())

    small.conn.execute(f"update public.small_jobs set {change}".encode())
    settled = small.settle(unit)

    assert settled.stale == [unit]
    assert small.queue() == [unit.token.msg_id]


def test_a_row_that_is_gone_makes_a_unit_stale(small: Small) -> None:
    small.job(1)
    small.send(do(1))
    unit = moving(small.worker.claim()[0], small.row())

    small.conn.execute("delete from public.small_jobs")

    assert small.settle(unit).stale == [unit]


def test_a_row_changed_between_load_and_settle_is_decided_on_again(small: Small) -> None:
    small.job(1)
    small.send(do(1))

    def by_hand(_message: Any) -> None:
        small.tools.during.clear()
        small.conn.execute("update public.small_jobs set status = 'running'")

    small.tools.during.append(by_hand)
    small.worker.run_once()

    assert small.tools.seen == [(1, "ready"), (1, "running")]
    assert small.history() == ["ready", "running", "done"]
    assert small.queue() == []


@pytest.mark.parametrize("number", [1, 3])
def test_a_change_that_is_not_committed_yet_is_waited_for_and_counts(small: Small, number: int) -> None:
    for job_id in range(1, number + 1):
        small.job(job_id)
        small.send(do(job_id))
    units = [moving(task, small.row(n)) for n, task in enumerate(small.worker.claim(), start=1)]
    with psycopg.connect(small.dsn) as other:
        other.execute("update public.small_jobs set note = 'mine' where job_id = 1")
        results: list[Any] = []
        settling = threading.Thread(target=lambda: results.append(small.settle(*units)))
        settling.start()
        waits = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        until(lambda: small.all(waits), what="a session that waits for the change")
    settling.join(PATIENCE_S)

    assert results[0].stale == units[:1]
    assert results[0].done == units[1:]


def test_a_row_that_changes_at_every_look_is_left_for_a_while(small: Small) -> None:
    stop_clock(small.conn)
    small.job(1)
    msg_id = small.send(do(1))
    small.tools.during.append(lambda _message: small.conn.execute("update public.small_jobs set note = note"))

    small.worker.run_once()

    assert len(small.tools.seen) == 11
    assert 0 < small.due_s(msg_id) <= 1
    assert small.headers(msg_id)["pgfleet"] | {"sent_at": ""} == {"attempts": 0, "released": 1, "sent_at": ""}


@pytest.mark.parametrize("stale", [1, 2])
def test_a_unit_with_several_changes_is_all_or_nothing(small: Small, stale: int) -> None:
    small.job(1)
    small.job(2)
    small.send(do(1, "both", 2))
    unit = moving(small.worker.claim()[0], small.row(1), small.row(2))

    small.conn.execute("update public.small_jobs set note = 'x' where job_id = %s", (stale,))

    assert small.settle(unit).stale == [unit]
    assert {small.status(1), small.status(2)} == {"ready"}
    small.worker.running.leases.drop([unit.token])
    move_clock(small.conn, 91)
    small.worker.run_once()
    assert {small.status(1), small.status(2)} == {"running"}


def test_two_units_on_one_row_in_one_batch_are_one_after_the_other(small: Small) -> None:
    small.job(1)
    small.job(2)
    small.send(do(1, "both", 2))
    small.send(do(2))
    first, second = small.worker.claim()
    units = [moving(first, small.row(1), small.row(2)), moving(second, small.row(2))]

    settled = small.settle(*units)

    assert (settled.done, settled.stale) == (units[:1], units[1:])


def test_two_messages_that_touch_one_row_in_one_claim_both_count(small: Small) -> None:
    small.job(1)
    small.job(2)
    small.send(do(1, "both", 2))
    small.send(do(2))

    small.worker.run_once()

    assert (small.status(1), small.status(2)) == ("running", "done")
    assert small.queue() == []


def test_a_row_made_by_someone_else_meanwhile_is_decided_on_again(small: Small) -> None:
    small.send(do(1))

    def someone_else(_message: Any) -> None:
        small.tools.during.clear()
        small.job(1)

    small.tools.during.append(someone_else)

    small.worker.run_once()

    assert small.tools.seen == [(1, None), (1, "ready")]
    assert small.history() == ["ready", "running"]


@pytest.mark.parametrize("fails", [False, True])
def test_follow_ups_exist_if_and_only_if_the_move_was_committed(small: Small, fails: bool) -> None:  # noqa: FBT001
    small.job(1)
    small.send(do(1))
    sends = ((QUEUE, Outgoing(do(1, n=1))), ("small_events", Outgoing({"told": 1})))
    unit = replace(moving(small.worker.claim()[0], small.row()), sends=sends)
    if fails:
        small.conn.execute("update public.small_jobs set note = 'x'")

    small.settle(unit)

    told = small.all("select message from pgmq.q_small_events")
    assert (small.status(), told) == (("ready", []) if fails else ("running", [{"told": 1}]))
    assert len(small.queue()) == 1


def test_a_refused_row_leaves_neither_letter_nor_deletion(small: Small) -> None:
    small.job(1, "done")
    small.send(do(1))
    (task,) = small.worker.claim()
    letter = DeadLetter(task.claimed, "1", "no", 3)
    unit = Unit(task, "dead", "no", (Move(small.row(), "failed", "no"),), letter=letter)

    settled = small.settle(unit)

    assert getattr(settled.failed[0][1], "sqlstate", None) == "PF002"
    assert (small.letters(), len(small.queue())) == ([], 1)


@pytest.mark.parametrize("cause", ["lost", "stale", "refused", "unsendable"])
def test_after_a_rollback_the_connection_is_of_use(small: Small, cause: str) -> None:
    small.job(1)
    small.send(do(1))
    unit = moving(small.worker.claim()[0], small.row())
    changes: dict[str, Any] = {
        "lost": {"task": replace(unit.task, claimed=replace(unit.task.claimed, token=_other(unit)))},
        "stale": {"changes": (Move(_old(small), "running"),)},
        "refused": {"changes": (Move(small.row(), "running", "", {"weight": -1}),)},
        "unsendable": {"sends": ((QUEUE, Outgoing(object())),)},
    }
    with psycopg.connect(small.dsn, autocommit=True) as conn:
        bad = settle(conn, QUEUE, [replace(unit, **changes[cause])], AUTHOR)
        good = settle(conn, QUEUE, [replace(unit, changes=(Move(small.row(), "running"),))], AUTHOR)

        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    assert (len(bad.done), len(good.done)) == (0, 1)


def _other(unit: Unit) -> Any:
    return unit.token._replace(read_ct=unit.token.read_ct + 1)


def _old(small: Small) -> Any:
    row = small.row()
    small.conn.execute("update public.small_jobs set note = 'x'")
    return row


def test_the_history_says_who_and_for_which_message(small: Small) -> None:
    small.job(1)
    msg_id = small.send(do(1))

    small.settle(moving(small.worker.claim()[0], small.row()))

    told = "select actor, reason, msg_id from public.status_history where to_status = 'running'"
    assert small.all(told) == [("small@test", "moved", msg_id)]
