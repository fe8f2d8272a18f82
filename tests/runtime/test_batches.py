"""Whole batches: one bad unit fails alone, large ones are flushed, and many at once never deadlock."""

import random
import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.workers.runtime.outcomes import Move, New
from pgfleet.workers.runtime.settle import Unit, settle
from worlds.fleet import move_clock
from worlds.small.kind import QUEUE, do, jobs
from worlds.small.world import AUTHOR, BROKEN_HISTORIES, Small, moving

ERRORS = ["too_long", "negative", "illegal", "zero_byte", "surrogate", "no_queue", "unsendable"]


@pytest.mark.parametrize("script", ERRORS)
def test_an_error_in_one_unit_fails_that_one_alone(small: Small, script: str) -> None:
    for job_id in range(1, 9):
        small.job(job_id)
        small.send(do(job_id, script if job_id == 6 else "advance"))

    small.worker.run_once()

    assert small.all("select job_id from public.small_jobs where status = 'ready'") == [6]
    (left,) = small.queue()
    # What the database lacks is no fault of the message.
    assert small.headers(left)["pgfleet"]["attempts"] == (0 if script == "no_queue" else 1)


def test_a_key_out_of_range_fails_its_message_alone(small: Small) -> None:
    for job_id in (1, 2, 3):
        small.job(job_id)
        small.send(do(job_id))
    beyond = small.send(do(2**63))

    small.worker.run_once()

    assert small.all("select status from public.small_jobs") == ["running"] * 3
    assert small.queue() == [beyond]
    for _ in range(2):
        move_clock(small.conn, 80)
        small.worker.run_once()
    assert small.letters()[0].startswith("NumericValueOutOfRange: ")


def test_a_value_too_large_for_an_index_fails_its_message_alone(small: Small) -> None:
    small.conn.execute("create index big_idx on public.small_jobs (big)")
    try:
        for job_id in (1, 2, 3):
            small.job(job_id)
            small.send(do(job_id))
        tasks = small.worker.claim()
        noise = random.Random(7).randbytes(20_000).hex()
        units = [moving(task, small.row(n)) for n, task in enumerate(tasks, start=1)]
        units[1] = replace(units[1], changes=(Move(small.row(2), "running", "", {"big": noise}),))

        settled = small.settle(*units)
    finally:
        small.conn.execute("drop index public.big_idx")

    assert [unit for unit, _ in settled.failed] == units[1:2]
    assert len(settled.done) == 2


def test_a_batch_of_8_mib_is_settled(small: Small) -> None:
    for job_id in range(1, 17):
        small.job(job_id)
        small.send(do(job_id, "huge"))

    small.worker.run_once()

    assert small.all("select length(big) from public.small_jobs") == [512 * 1024] * 16
    assert small.queue() == []


def test_a_batch_of_8_mib_that_is_refused_is_settled_without_the_one_that_caused_it(small: Small) -> None:
    for job_id in range(1, 17):
        small.job(job_id)
        small.send(do(job_id, "negative" if job_id == 16 else "huge"))

    small.worker.run_once()

    assert small.all("select job_id from public.small_jobs where status = 'ready'") == [16]


def _deadlocks(small: Small) -> int:
    small.conn.execute("select pg_stat_clear_snapshot()")
    return int(small.one("select deadlocks from pg_stat_database where datname = current_database()"))


def _together(small: Small, batches: list[list[Unit]]) -> list[Any]:
    """Settle batches at the same time, each in a thread; what each came to."""
    start = threading.Barrier(len(batches))
    results: list[Any] = []

    def run(batch: list[Unit]) -> None:
        with psycopg.connect(small.dsn, autocommit=True) as conn:
            start.wait()
            results.append(settle(conn, QUEUE, batch, AUTHOR))

    threads = [threading.Thread(target=run, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_batches_over_the_same_rows_in_any_order_never_deadlock_and_lose_nothing(small: Small) -> None:
    dice = random.Random(5)
    before = _deadlocks(small)
    for _ in range(12):
        small.conn.execute("truncate public.small_jobs, pgmq.q_small_jobs; delete from public.status_history")
        rows = [small.row(small.job(job_id)) for job_id in range(1, 21)]
        for _ in range(80):
            small.send(do(1))
        tasks = small.worker.claim(80)
        batches = []
        for first in range(0, 80, 10):
            picked = dice.sample(rows, 10)
            batches.append([moving(d, row) for d, row in zip(tasks[first : first + 10], picked, strict=True)])

        results = _together(small, batches)

        done = sum(len(result.done) for result in results)
        assert done + sum(len(result.stale) for result in results) == 80
        assert len(small.queue()) == 80 - done
        assert small.one("select count(*) from public.small_jobs where status = 'running'") == done
        assert small.all(BROKEN_HISTORIES) == []
    assert _deadlocks(small) == before


def test_batches_that_make_the_same_rows_in_any_order_never_deadlock(small: Small) -> None:
    dice = random.Random(6)
    before = _deadlocks(small)
    for _ in range(6):
        small.conn.execute("truncate public.small_jobs, pgmq.q_small_jobs; delete from public.status_history")
        for _ in range(80):
            small.send(do(1))
        tasks = small.worker.claim(80)
        batches = []
        for first in range(0, 80, 20):
            keys = dice.sample(range(1, 21), 20)
            news = [New(jobs, "ready", "made", {"job_id": key}) for key in keys]
            pairs = zip(tasks[first : first + 20], news, strict=True)
            batches.append([Unit(task, "advance", "made", (new,)) for task, new in pairs])

        results = _together(small, batches)

        assert sum(len(result.done) for result in results) == 20
        assert small.one("select count(*) from public.status_history") == 20
    assert _deadlocks(small) == before
