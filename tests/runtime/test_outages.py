"""Outages of what is outside: how they begin, who asks whether they are over, and what becomes of what waits."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock, Semaphore
from typing import Any

import pytest

from pgfleet.workers.runtime.kind import Turn
from pgfleet.workers.runtime.outcomes import Advance, Calls, NoPlaceError, NotNowError, Outcome
from pgfleet.workers.runtime.outside import breakers
from pgfleet.workers.runtime.outside.breakers import Outages
from pgfleet.workers.runtime.outside.guard import Guard
from pgfleet.workers.runtime.outside.probes import probe_due
from pgfleet.workers.runtime.work import work
from worlds.fleet import PATIENCE_S, Worker, move_clock, settings_for, stop_clock, worker_on
from worlds.small.kind import Do, View, do, jobs, small_kind, step
from worlds.small.world import Small

NAME = "thing"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Thing:
    """Something outside: what it answers to whom, and what it was asked."""

    answers: bool = True
    answers_nobody: bool = True
    says: str = "away"
    refused_jobs: set[int] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)
    probes: list[Calls] = field(default_factory=list)

    def ask(self, job_id: int, guard: Guard, calls: Calls) -> None:
        guard.check(calls)
        self.calls.append(job_id)
        if not self.answers or job_id in self.refused_jobs:
            raise guard.unanswered(NotNowError(NAME, calls, "OUT", self.says))

    def probe(self, calls: Calls) -> None:
        self.probes.append(calls)
        if not self.answers_nobody:
            raise NotNowError(NAME, calls, "OUT", self.says)


@contextmanager
def calling(small: Small, thing: Thing, calls: Calls = Calls.READ, **settings: Any) -> Iterator[Worker]:
    """A worker whose steps ask the thing first."""

    def asking(message: Do, turn: Turn[View, Any]) -> Outcome:
        thing.ask(message.job_id, Guard(NAME, turn.breakers, thing.probe), calls)
        return step(message, turn)

    kind = small_kind(
        step=asking,
        effects=True,
        shown=lambda message, view: view.rows.get(message.job_id),
        probe=lambda _tools, _use, _dependency, asked: thing.probe(asked),
        outlasts=(NAME,),
    )
    with worker_on(kind, settings_for(small.dsn, **settings)) as worker:
        yield worker


@pytest.fixture(autouse=True)
def noted(small: Small) -> None:
    small.conn.execute("delete from public.outages")
    jobs.info["shows"] = "note"


def open_now(small: Small) -> list[tuple[str, str]]:
    return small.all("select dependency, calls from public.outages where ended_at is null order by outage_id")


def test_what_is_not_answered_to_nobody_either_is_an_outage(small: Small) -> None:
    stop_clock(small.conn)
    thing = Thing(answers=False, answers_nobody=False)
    small.job(1)
    msg_id = small.send(do(1))
    with calling(small, thing) as worker:
        worker.run_once()

    assert open_now(small) == [(NAME, "read")]
    assert small.status() == "ready"
    assert small.headers(msg_id)["pgfleet"]["attempts"] == 0
    assert small.headers(msg_id)["pgfleet"]["waits_for"] == NAME
    assert small.due_s(msg_id) > 30


def test_what_nobody_is_answered_is_one_messages_trouble_and_no_attempt(small: Small) -> None:
    thing = Thing(refused_jobs={1})
    for job_id in (1, 2):
        small.job(job_id)
    first, _ = small.send(do(1)), small.send(do(2))
    with calling(small, thing) as worker:
        for _ in range(10):
            worker.run_once()
            move_clock(small.conn, 61)

    assert open_now(small) == []
    assert small.status(1) == "ready"
    assert small.status(2) == "running"
    assert small.headers(first)["pgfleet"]["attempts"] == 0
    assert small.letters() == []


def test_nobody_calls_in_an_outage_but_one_probe(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    for job_id in range(1, 31):
        small.job(job_id)
        small.send(do(job_id))
    with calling(small, thing) as one, calling(small, thing) as other:
        for _ in range(3):
            one.run_once()
            other.run_once()
        called, probed = len(thing.calls), len(thing.probes)
        move_clock(small.conn, 2)
        for worker in (one, other) * 3:
            worker.run_once()

    assert called <= 8, "those that were in hand when it began"
    assert len(thing.calls) == called
    assert len(thing.probes) == probed + 1


def test_the_first_good_answer_lets_all_go_on_at_once_and_in_order(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    for job_id in range(1, 21):
        small.job(job_id)
        small.send(do(job_id))
    with calling(small, thing, effect_threads=1) as worker:
        worker.run_once()
        thing.calls.clear()
        thing.answers = thing.answers_nobody = True
        move_clock(small.conn, 2)
        worker.run()

    assert open_now(small) == []
    assert thing.calls == list(range(1, 21))
    assert {small.status(job_id) for job_id in range(1, 21)} == {"running"}


class CountedLock:
    """A lock that tells how many have come to it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.come = Semaphore(0)

    def __enter__(self) -> None:
        self.come.release()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_threads_that_were_not_answered_at_one_time_ask_about_nobody_once(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = Thing()
    with calling(small, thing) as worker, ThreadPoolExecutor(8) as threads:
        guard, lock = Guard(NAME, worker.running.breakers, thing.probe), CountedLock()
        monkeypatch.setattr(guard, "_asking", lock)
        errors = [NotNowError(NAME, Calls.READ, "OUT", f"call {number}") for number in range(8)]
        with lock.lock:
            told = [threads.submit(guard.unanswered, error) for error in errors]
            assert all(lock.come.acquire(timeout=PATIENCE_S) for _ in errors)
        answers = [each.result(PATIENCE_S) for each in told]

        again = guard.unanswered(errors[0])
    assert answers == errors
    assert again is errors[0]
    assert thing.probes == [Calls.READ] * 2, "once for all of them, and once more for the later one"


def test_an_outage_that_another_worker_ended_is_over_for_all(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    small.job(1)
    small.send(do(1))
    with calling(small, thing) as one, calling(small, thing) as other:
        one.run_once()
        other.running.breakers.look()
        thing.answers = thing.answers_nobody = True
        move_clock(small.conn, 2)
        other.run()

        assert not one.running.breakers.look()
        assert not one.running.breakers.look()
        assert not one.running.breakers.known.is_set()
    assert small.status(1) == "running"


def test_what_is_in_a_workers_hands_is_not_given_to_another_when_an_outage_ends(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    small.job(1)
    msg_id = small.send(do(1))
    with calling(small, thing) as one, calling(small, thing) as other:
        one.run_once()
        other.running.breakers.look()
        thing.answers = thing.answers_nobody = True
        move_clock(small.conn, 2)
        probe_due(one.running)
        due_s = small.due_s(msg_id)
        tasks = one.claim()
        probe_due(other.running)
        probe_due(other.running)

        assert due_s <= 0
        assert other.claim() == []
        work(one.running, tasks)
    assert small.status(1) == "running"


def test_what_was_put_back_as_an_outage_ended_goes_on_at_once(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    for job_id in (1, 2):
        small.job(job_id)
    msg_id = small.send(do(1))
    with calling(small, thing) as one:
        one.run_once()
        small.conn.execute("update public.outages set ended_at = public.fleet_now()")
        thing.answers = thing.answers_nobody = True
        small.send(do(2))
        work(one.running, one.claim())
        before_s = small.due_s(msg_id)
        probe_due(one.running)

        assert before_s > 30
        assert small.due_s(msg_id) <= 0
        assert small.status(2) == "running"


def test_what_is_put_back_after_the_end_was_seen_goes_on_soon(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    small.job(1)
    msg_id = small.send(do(1))
    with calling(small, thing) as one:
        one.run_once()
        small.conn.execute("update public.outages set ended_at = public.fleet_now()")
        probe_due(one.running)
        small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now() + interval '60 seconds'")
        probe_due(one.running)

        assert small.due_s(msg_id) <= 0
        assert not one.running.breakers.known.is_set()


def test_more_than_can_be_woken_at_once_are_woken_one_look_after_the_other(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "WOKEN_MOST", 2)
    thing = Thing(answers=False, answers_nobody=False)
    for job_id in range(1, 6):
        small.job(job_id)
        small.send(do(job_id))
    with calling(small, thing) as one:
        one.run_once()
        small.conn.execute("update public.outages set ended_at = public.fleet_now()")
        due = []
        while one.running.breakers.known.is_set():
            probe_due(one.running)
            due += small.all("select count(*) from pgmq.q_small_jobs where vt <= public.fleet_now()")

    assert due == [2, 4, 5, 5]


def test_a_probe_whose_worker_died_is_made_by_another(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    small.job(1)
    small.send(do(1))
    with calling(small, thing) as one, calling(small, thing) as other:
        one.run_once()
        move_clock(small.conn, 2)
        taken = one.running.breakers.look()
        other.run_once()
        at_once = len(thing.probes)
        move_clock(small.conn, 60)
        thing.answers = thing.answers_nobody = True
        other.run()

    assert taken == [(NAME, Calls.READ)]
    assert len(thing.probes) == at_once + 1
    assert small.status(1) == "running"


def test_pauses_between_probes_grow_to_their_limit(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False)
    small.job(1)
    small.send(do(1))
    with calling(small, thing, breaker_open_s=30) as worker:
        worker.run_once()
        pauses = []
        for _ in range(8):
            statement = "select extract(epoch from retry_at - public.fleet_now())::float8 from public.outages"
            pauses.append(round(small.one(statement)))
            move_clock(small.conn, pauses[-1] + 0.1)
            probe_due(worker.running)

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_what_cant_be_made_may_still_be_read(small: Small) -> None:
    thing = Thing(answers=False)
    small.job(1)
    small.send(do(1))
    with calling(small, thing, Calls.MAKE) as worker:
        breakers = worker.running.breakers
        breakers.open(NotNowError(NAME, Calls.MAKE, "THING_REFUSES", "no"))

        assert breakers.trouble(NAME, Calls.READ) is None
        assert breakers.trouble(NAME, Calls.DELETE) is None
        with pytest.raises(NotNowError, match="no"):
            breakers.check(NAME, Calls.MAKE)


def test_what_cant_be_read_can_be_neither_made_nor_deleted(small: Small) -> None:
    with calling(small, Thing()) as worker:
        breakers = worker.running.breakers
        breakers.open(NotNowError(NAME, Calls.READ, "OUT", "gone"))

        for calls in Calls:
            assert str(breakers.trouble(NAME, calls)) == "gone"


def test_the_row_says_why_it_waits_and_the_message_why_for_good(small: Small) -> None:
    thing = Thing(answers=False, answers_nobody=False, says="x")
    small.job(1)
    small.send(do(1))
    with calling(small, thing) as worker:
        worker.run_once()

    assert small.all("select note from public.small_jobs") == ["OUT: x"]


def test_how_long_it_asked_us_to_wait_is_kept_within_an_hour(small: Small) -> None:
    stop_clock(small.conn)
    with calling(small, Thing()) as worker:
        worker.running.breakers.open(NotNowError(NAME, Calls.READ, "OUT", "busy", after_s=1e9))

    statement = "select extract(epoch from retry_at - public.fleet_now())::float8 from public.outages"
    assert small.one(statement) == 3600


def test_no_place_is_no_outage_and_no_attempt(small: Small) -> None:
    def full(_message: Do, _turn: Any) -> Outcome:
        raise NoPlaceError("QUOTA", "full")

    small.job(1)
    msg_id = small.send(do(1))
    with worker_on(small_kind(step=full), settings_for(small.dsn)) as worker:
        for _ in range(6):
            worker.run_once()
            move_clock(small.conn, 61)

    assert open_now(small) == []
    assert small.headers(msg_id)["pgfleet"]["attempts"] == 0
    assert small.letters() == []


def test_time_in_outages_counts_once_and_only_within(small: Small) -> None:  # its database is not asked
    def span(first: float, last: float) -> tuple[datetime, datetime]:
        return NOON + timedelta(minutes=first), NOON + timedelta(minutes=last)

    outages = Outages({"a": [span(-60, 10), span(50, 70)], "b": [span(5, 20), span(55, 58)]})

    assert outages.within(NOON, NOON + timedelta(minutes=60)) == timedelta(minutes=30)
    assert outages.within(NOON, NOON) == timedelta(0)
    assert Outages().within(NOON, NOON + timedelta(hours=1)) == timedelta(0)


def test_a_turn_knows_how_long_it_waited_without_outages(small: Small) -> None:
    waited = []

    def asked(_message: Do, turn: Turn[View, Any]) -> Outcome:
        waited.append(turn.waited(turn.now - timedelta(hours=4)))
        return Advance(())

    small.conn.execute(
        "insert into public.outages (dependency, calls, queue, code, reason, began_at, retry_at, ended_at)"
        " select 'thing', 'read', 'small_jobs', 'X', 'x', fleet_now() - interval '3 hours', fleet_now(),"
        " fleet_now() - interval '1 hour'"
    )
    small.job(1)
    small.send(do(1))
    kind = replace(small_kind(effects=True, outlasts=(NAME,)), step=asked)
    with worker_on(kind, settings_for(small.dsn)) as worker:
        worker.run_once()

    assert [round(each.total_seconds()) for each in waited] == [7200]
