"""Deaths: only what was begun and not ended counts, and what others did to a message is nothing of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import OURS
from pgfleet.workers.runtime.broker import ClaimConsumer
from pgfleet.workers.runtime.inside.hangs import give_back
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.work import work
from worlds.fleet import Worker, move_clock, settings_for, stop_clock, until, worker_on
from worlds.small.kind import QUEUE, do, small_kind
from worlds.small.world import Small

HEADERS: list[Any] = [
    None,
    7,
    "text",
    [1],
    {"trace": "abc"},
    {OURS: None},
    {OURS: "text"},
    {OURS: ["claim"]},
    {OURS: {"claim": None}},
    {OURS: {"claim": {"x": 1}, "begun": "x", "unanswered": []}},
    {OURS: {"begun": 10**30}},
    {OURS: {"begun": -5}},
]
BURIED = ["the worker ended 3 times while it had this message in hand"]


@contextmanager
def with_effects(small: Small) -> Iterator[Worker]:
    with worker_on(small_kind(small.tools, effects=True), settings_for(small.dsn, backoff_s=5)) as worker:
        yield worker


def taken_by_others(small: Small, times: int) -> None:
    for _ in range(times):
        assert small.all("select msg_id from pgmq.read('small_jobs', 30, 100)")
        small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now()")


def consumer_on(small: Small) -> ClaimConsumer:
    return ClaimConsumer(small.worker.running, claims=1, timeout_s=0.01)


def test_what_was_given_back_while_its_thread_stood_still_does_not_begin(small: Small) -> None:
    small.send(do(small.job()))
    with with_effects(small) as worker:
        tasks = worker.claim()
        worker.running.leases.drop(task.token for task in tasks)
        assert give_back(worker.running, tasks)

        work(worker.running, tasks)

        (again,) = worker.claim()
        assert (again.deaths, again.suspect) == (0, False)


def test_what_others_have_read_runs_as_any_other(small: Small) -> None:
    for job_id in range(1, 4):
        small.send(do(small.job(job_id)))
    taken_by_others(small, 5)

    proxy = next(consumer_on(small))

    assert proxy is not None
    assert len(proxy.args[0]) == 3
    work(small.worker.running, proxy.args[0])
    assert [small.status(job_id) for job_id in range(1, 4)] == ["running"] * 3
    assert small.letters() == []


def test_a_claim_that_never_reached_its_steps_is_no_death(small: Small) -> None:
    small.send(do(small.job(1)))
    with with_effects(small) as worker:
        for _ in range(5):
            worker.claim()
            move_clock(small.conn, 91)
        (task,) = worker.claim()

        assert (task.deaths, task.suspect) == (0, True)
        work(worker.running, [task])

    assert small.status() == "running"


def test_with_effects_each_step_that_was_begun_and_not_ended_is_a_death(small: Small) -> None:
    small.send(do(small.job(1)))
    with with_effects(small) as worker:
        for _ in range(3):
            worker.die()
            move_clock(small.conn, 91)

        worker.run_once()

    assert small.tools.seen == []
    assert small.letters() == BURIED


def test_a_step_that_is_at_work_is_begun_and_one_that_has_ended_is_not(small: Small) -> None:
    msg_id = small.send(do(small.job(1), "raise"), {"trace": "abc"})
    meanwhile: list[Any] = []
    small.tools.during.append(lambda _message: meanwhile.append(small.headers(msg_id)))

    with with_effects(small) as worker:
        worker.run_once()

    assert (meanwhile[0][OURS]["begun"], meanwhile[0]["trace"]) == (1, "abc")
    after = small.headers(msg_id)
    assert (after[OURS]["attempts"], after["trace"]) == (1, "abc")
    assert not {"begun", "claim", "unanswered"} & set(after[OURS])


def test_what_is_given_back_unstarted_keeps_its_deaths_and_gains_none(small: Small) -> None:
    small.send(do(small.job(1)))
    with with_effects(small) as worker:
        worker.die()
        move_clock(small.conn, 91)
        running = replace(worker.running)
        for _ in range(5):
            tasks = worker.claim()
            running.draining.set()
            work(running, tasks)
            running.draining.clear()

        (task,) = worker.claim()

    assert (task.deaths, task.released) == (1, 5)


def test_a_suspect_that_is_given_back_unstarted_stays_one(small: Small) -> None:
    small.send(do(small.job(1)))
    small.worker.die()
    move_clock(small.conn, 91)
    consumer = consumer_on(small)
    assert next(consumer) is None
    consumer.running.draining.set()
    assert next(consumer) is None
    consumer.running.draining.clear()

    (task,) = small.worker.claim()

    assert (task.suspect, task.deaths) == (True, 0)


def test_a_failed_step_and_a_death_are_each_counted_for_themselves(small: Small) -> None:
    small.send(do(small.job(1), "raise"))
    with with_effects(small) as worker:
        worker.run_once()
        move_clock(small.conn, 91)
        worker.die()
        move_clock(small.conn, 91)
        worker.run_once()
        move_clock(small.conn, 91)

        (task,) = worker.claim()

    assert (task.attempts, task.deaths) == (2, 1)


def test_who_waits_begins_anew(small: Small) -> None:
    small.send(do(small.job(1), "wait"))
    with with_effects(small) as worker:
        worker.die()
        move_clock(small.conn, 91)
        worker.run_once()
        move_clock(small.conn, 61)

        (task,) = worker.claim()

    assert (task.deaths, task.suspect) == (0, False)


def test_a_message_that_others_took_before_its_step_begins_is_not_stepped(small: Small) -> None:
    small.send(do(small.job(1)))
    with with_effects(small) as worker:
        tasks = worker.claim()
        small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now()")
        small.all("select msg_id from pgmq.read('small_jobs', 30, 1)")

        work(worker.running, tasks)

    assert small.tools.seen == []
    assert small.status() == "ready"


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_headers_of_any_shape_are_marked_and_begun(small: Small, headers: Any) -> None:
    small.send(do(small.job(1)), headers)
    with with_effects(small) as worker:
        (first,) = worker.die()
        move_clock(small.conn, 91)
        (second,) = worker.claim()

    assert first.deaths == 0
    assert (second.deaths, second.suspect) == (1, True)
    theirs = headers if isinstance(headers, dict) else {}
    assert {**theirs, OURS: 0} == {**second.claimed.headers, OURS: 0}


def test_numbers_beyond_pythons_in_body_and_headers_are_rejected_and_kept(small: Small) -> None:
    huge = "1" + "0" * 400 + ".5"
    small.job(1)
    insert = "insert into pgmq.q_small_jobs (vt, message, headers) values (public.fleet_now(), %s, %s)"
    small.conn.execute(insert, (f'{{"action": "do", "job_id": 1, "n": {huge}}}', None))
    small.conn.execute(insert, (Jsonb(do(1, "raise")), f'{{"pgfleet": {{"begun": {huge}}}}}'))

    small.worker.run_once()

    body = "select (message ->> 'n')::numeric = %s::numeric from public.dead_letters where message ? 'n'"
    assert small.one(body, (huge,)) is True
    assert small.all("select verdict from public.dead_letters") == ["rejection", "rejection"]
    assert small.queue() == []


@pytest.mark.usefixtures("any_time")
@pytest.mark.parametrize("at", ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"])
def test_a_time_that_no_worker_can_read_fails_alone(small: Small, at: str) -> None:
    """Though the table refuses it: a database of before may hold one."""
    small.send(do(small.job(1)))
    bad = small.send(do(small.job(2)))
    small.conn.execute("update pgmq.q_small_jobs set enqueued_at = %s where msg_id = %s", (at, bad))

    small.worker.run_once()

    assert (small.status(1), small.status(2)) == ("running", "ready")
    assert small.letters() == ["enqueued_at is not a time that a worker can read"]
    assert small.queue() == []


def test_a_claim_does_not_depend_on_how_the_session_writes_times(small: Small) -> None:
    msg_id = small.send(1)
    with psycopg.connect(small.dsn, autocommit=True, options="-c DateStyle=German -c TimeZone=Asia/Tokyo") as odd:
        ((message,), _) = claims.claim(odd, QUEUE, 1, timedelta(seconds=90))

    assert message.enqueued_at == small.one("select enqueued_at from pgmq.q_small_jobs where msg_id = %s", (msg_id,))


def _broken(conn: psycopg.Connection[Any]) -> None:
    conn.execute("do $$ begin raise exception 'cached plan' using errcode = '0A000'; end $$")


def _odd_session(conn: psycopg.Connection[Any]) -> None:
    conn.execute("set DateStyle = 'German'")


@pytest.mark.parametrize("trouble", [_broken, _odd_session])
def test_rows_that_the_session_or_the_database_does_not_give_cost_no_attempt(
    small: Small, trouble: Callable[..., None]
) -> None:
    kind = small_kind(small.tools)
    ill = True

    def load(conn: Any, *args: Any) -> Any:
        conn.execute("reset DateStyle")
        if ill:
            trouble(conn)
        return kind.load(conn, *args)

    sent = [small.send(do(small.job(job_id))) for job_id in range(1, 5)]
    with worker_on(replace(kind, load=load), settings_for(small.dsn)) as worker:
        for _ in range(6):
            assert worker.run_once() == 4
            move_clock(small.conn, 80)
        assert [small.headers(msg_id)[OURS]["attempts"] for msg_id in sent] == [0] * 4
        ill = False
        worker.run_once()

    assert [small.status(job_id) for job_id in range(1, 5)] == ["running"] * 4
    assert small.letters() == []


def test_a_claim_whose_answer_was_lost_is_found_by_its_mark_at_once(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, others = small.send(do(small.job(1))), small.send(do(small.job(2)))
    small.conn.execute("update pgmq.q_small_jobs set vt = vt + interval '20 s' where msg_id = %s", (others,))
    consumer = consumer_on(small)
    claim = claims.claim

    def lose(*args: Any, **options: Any) -> Any:
        claim(*args, **options)
        raise psycopg.OperationalError("the connection is lost")

    for _ in range(4):
        with monkeypatch.context() as patched:
            patched.setattr("pgfleet.schema.queue.claims.claim", lose)
            until(lambda: small.due_s(mine) > 30, within_s=10, work=lambda: next(consumer))

        proxy = until(lambda: next(consumer), within_s=10)
        consumer.requeue([proxy])
        consumer.ack(proxy)

    (task,) = proxy.args[0]
    assert (task.token.msg_id, task.deaths, task.suspect) == (mine, 0, False)


def test_a_lost_claim_takes_nothing_from_those_who_have_claimed_since(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clock(small.conn)
    msg_id = small.send(do(small.job(1)))
    consumer = consumer_on(small)
    claim = claims.claim

    def lose(*args: Any, **options: Any) -> Any:
        claim(*args, **options)
        raise psycopg.OperationalError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr("pgfleet.schema.queue.claims.claim", lose)
        next(consumer)
    small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now()")
    ((theirs,), _) = claim(small.conn, QUEUE, 1, timedelta(seconds=90))

    assert next(consumer) is None

    assert small.due_s(msg_id) == 90
    assert kernel.delete(small.conn, QUEUE, [theirs.token]).fetchall() == [(msg_id,)]


def test_a_step_that_ended_while_the_database_was_away_is_no_death(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.send(do(small.job(1)))
    with with_effects(small) as worker:
        consumer = ClaimConsumer(worker.running, claims=1, timeout_s=0.01)
        for _ in range(4):
            proxy = until(lambda: next(consumer), within_s=10)
            with monkeypatch.context() as patched:
                patched.setattr("pgfleet.workers.runtime.work.settle", _unreachable)
                worker.running.leases.lease_s = -1
                worker.running.leases.take((task.token for task in proxy.args[0]), float("inf"))
                work(worker.running, proxy.args[0])
                worker.running.leases.lease_s = 90
            consumer.ack(proxy)

        proxy = until(lambda: next(consumer), within_s=10)
        assert [Task.of(task.claimed).deaths for task in proxy.args[0]] == [0]


def _unreachable(*_args: Any) -> None:
    raise psycopg.OperationalError("the server is away")
