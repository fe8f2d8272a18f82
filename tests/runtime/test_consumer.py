"""The consumer that dramatiq asks for work: how much it claims, in which order, and what it gives back."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from dramatiq.broker import MessageProxy
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from pgfleet.workers.runtime.broker import PERIODIC_CHECK_S, ClaimConsumer
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.work import work
from worlds.fleet import move_clock, settings_for, stop_clock, until, worker_on
from worlds.small.kind import QUEUE, do, small_kind
from worlds.small.world import Small


def consumer_on(small: Small, claims: int = 2, batch: int = 2) -> ClaimConsumer:
    running = replace(small.worker.running, kind=small_kind(small.tools, batch=batch))
    return ClaimConsumer(running, claims=claims, timeout_s=0.01)


def jobs(small: Small, number: int) -> list[int]:
    return [small.send(do(small.job(job_id))) for job_id in range(1, number + 1)]


def next_of(consumer: ClaimConsumer) -> list[int] | None:
    proxy = next(consumer)
    return None if proxy is None else ids(proxy)


def ids(proxy: MessageProxy) -> list[int]:
    return [task.token.msg_id for task in proxy.args[0]]


def claimed(consumer: ClaimConsumer) -> MessageProxy:
    proxy = next(consumer)
    assert proxy is not None
    return proxy


def answer(consumer: ClaimConsumer, proxy: MessageProxy) -> None:
    work(consumer.running, proxy.args[0])
    consumer.ack(proxy)


def die(small: Small) -> list[Task]:
    """Claim all that is due, begin suspects and end without a word."""
    tasks = small.worker.die()
    move_clock(small.conn, 91)
    return tasks


def test_one_claim_is_one_message_of_dramatiq(small: Small) -> None:
    sent = jobs(small, 3)
    consumer = consumer_on(small, batch=5)

    proxy = claimed(consumer)

    assert (proxy.queue_name, proxy.actor_name) == (QUEUE, "small_job")
    assert ids(proxy) == sent
    assert {token.msg_id for token in consumer.running.leases.tokens()} == set(sent)


def test_no_more_is_claimed_than_there_are_free_places(small: Small) -> None:
    sent = jobs(small, 7)
    consumer = consumer_on(small)

    first = claimed(consumer)
    assert next_of(consumer) == sent[2:4]
    assert next_of(consumer) is None
    assert small.one("select count(*) from pgmq.q_small_jobs where read_ct = 0") == 3

    consumer.ack(first)
    assert next_of(consumer) == sent[4:6]
    assert next_of(consumer) is None


def test_a_kind_with_effects_claims_what_its_threads_can_take(small: Small) -> None:
    kind = small_kind(effects=True, batch=500)
    running = replace(small.worker.running, kind=kind)

    assert ClaimConsumer(running, claims=1, timeout_s=0.01).batch == running.settings.effect_threads


def test_a_suspect_runs_alone_after_everything_else_and_nothing_is_claimed_meanwhile(small: Small) -> None:
    suspects = jobs(small, 2)
    die(small)
    others = [small.send(do(small.job(job_id))) for job_id in range(3, 8)]
    consumer = consumer_on(small, claims=2, batch=4)

    first = claimed(consumer)
    assert ids(first) == others[:2]
    assert next_of(consumer) is None, "a suspect waits for all that is in hand"
    consumer.ack(first)
    one = claimed(consumer)
    assert ids(one) == suspects[:1]
    assert next_of(consumer) is None, "one suspect at a time"
    consumer.ack(one)
    two = claimed(consumer)
    assert ids(two) == suspects[1:]
    assert next_of(consumer) is None, "nothing is claimed while the last suspect runs"

    consumer.ack(two)
    assert next_of(consumer) == others[2:]


def test_a_claim_of_nothing_but_suspects_is_handed_out_one_by_one(small: Small) -> None:
    suspects = jobs(small, 2)
    die(small)
    consumer = consumer_on(small)

    assert next_of(consumer) is None
    one = claimed(consumer)
    assert ids(one) == suspects[:1]
    answer(consumer, one)
    assert next_of(consumer) == suspects[1:]


def test_a_message_given_back_is_no_suspect(small: Small) -> None:
    sent = jobs(small, 1)
    consumer = consumer_on(small)

    for _ in range(5):
        proxy = claimed(consumer)
        consumer.requeue([proxy])
        consumer.ack(proxy)

    assert next_of(consumer) == sent
    assert small.one("select read_ct from pgmq.q_small_jobs") == 6


def test_what_no_thread_has_taken_is_given_back_at_once(small: Small) -> None:
    sent = jobs(small, 4)
    consumer = consumer_on(small)
    proxies = [claimed(consumer), claimed(consumer)]

    consumer.requeue(proxies)

    assert [small.due_s(msg_id) <= 0 for msg_id in sent] == [True] * 4
    assert consumer.running.leases.tokens() == []
    assert [(d.deaths, d.released, d.attempts) for d in small.worker.claim()] == [(0, 1, 0)] * 4


def test_who_drains_claims_nothing_and_gives_suspects_back(small: Small) -> None:
    suspects = jobs(small, 2)
    die(small)
    consumer = consumer_on(small)
    assert next_of(consumer) is None
    more = small.send(do(small.job(3)))

    consumer.running.draining.set()

    assert next_of(consumer) is None
    assert [small.due_s(msg_id) <= 0 for msg_id in [*suspects, more]] == [True] * 3
    assert small.one("select read_ct from pgmq.q_small_jobs where msg_id = %s", (more,)) == 0
    assert consumer.running.leases.tokens() == []


def test_who_drains_hands_back_what_is_not_started(small: Small) -> None:
    sent = jobs(small, 2)
    consumer = consumer_on(small)
    proxy = claimed(consumer)

    consumer.running.draining.set()
    work(consumer.running, proxy.args[0])

    assert small.tools.seen == []
    assert [small.due_s(msg_id) <= 0 for msg_id in sent] == [True] * 2


def test_a_message_that_keeps_killing_its_worker_is_dead_before_it_is_run_again(small: Small) -> None:
    (msg_id,) = jobs(small, 1)
    # The first time it was one of many, of which only one had begun: which, nobody knows.
    for _ in range(1 + 3):
        die(small)
    consumer = consumer_on(small)
    assert next_of(consumer) is None

    answer(consumer, claimed(consumer))

    assert small.tools.seen == []
    assert small.letters() == ["the worker ended 3 times while it had this message in hand"]
    assert small.all("select msg_id from public.dead_letters") == [msg_id]
    assert small.status() == "failed"
    assert small.queue() == []


def test_a_message_that_killed_its_worker_less_often_is_run_again(small: Small) -> None:
    jobs(small, 1)
    for _ in range(1 + 2):
        die(small)

    small.worker.run_once()

    assert small.status() == "running"


def test_deaths_releases_and_failures_are_told_apart(small: Small) -> None:
    small.send(do(small.job(1), "raise"))
    small.worker.run_once()
    move_clock(small.conn, 10)
    consumer = consumer_on(small)
    proxy = claimed(consumer)
    consumer.requeue([proxy])
    for _ in range(1 + 1):
        die(small)

    (task,) = small.worker.claim()

    assert (task.attempts, task.released, task.deaths) == (1, 1, 1)


ERRORS: list[Callable[[], Exception]] = [
    psycopg.OperationalError,
    psycopg.errors.AdminShutdown,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.UndefinedTable,
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_the_database_is_no_reason_to_raise(
    small: Small, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    (msg_id,) = jobs(small, 1)
    consumer = consumer_on(small)

    def refuse(*_args: Any, **_options: Any) -> None:
        raise error()

    with monkeypatch.context() as patched:
        patched.setattr("pgfleet.schema.queue.claims.claim", refuse)
        assert next_of(consumer) is None

    assert until(lambda: next_of(consumer), within_s=10) == [msg_id]


def test_connections_that_the_server_ended_are_replaced(small: Small) -> None:
    (msg_id,) = jobs(small, 1)
    consumer = consumer_on(small)
    others = "pid <> pg_backend_pid() and datname = current_database()"

    small.conn.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}".encode())

    assert until(lambda: next_of(consumer), within_s=10) == [msg_id]


def test_periodic_work_becomes_a_message_once_however_many_workers(small: Small) -> None:
    stop_clock(small.conn)
    small.conn.execute(
        "insert into public.periodic (name, queue, message, every) values ('tick', %s, %s, '10 min')",
        (QUEUE, Jsonb(do(small.job(1)))),
    )
    with ExitStack() as stack:
        settings = settings_for(small.dsn)
        workers = [stack.enter_context(worker_on(small_kind(), settings)) for _ in range(2)]
        consumers = [ClaimConsumer(worker.running, claims=1, timeout_s=0.01) for worker in workers]
        proxies: list[MessageProxy | None] = []
        threads = [threading.Thread(target=lambda c=c: proxies.append(next(c))) for c in consumers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert small.one("select max(msg_id) - min(msg_id) from pgmq.q_small_jobs") == 0
    ahead = "select extract(epoch from next_at - public.fleet_now())::float8 from public.periodic where name = 'tick'"
    assert small.one(ahead) == 600


def test_periodic_work_comes_back_after_its_time(small: Small) -> None:
    small.conn.execute(
        "insert into public.periodic (name, queue, message, every) values ('tick', %s, %s, '10 min')",
        (QUEUE, Jsonb(do(small.job(1)))),
    )
    consumer = consumer_on(small)
    answer(consumer, claimed(consumer))
    move_clock(small.conn, 601)
    consumer.periodic_at = 0

    answer(consumer, claimed(consumer))

    assert small.status() == "done"


def test_an_idle_consumer_waits_no_longer_than_until_periodic_work_may_be_due(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = consumer_on(small)
    waits: list[float | None] = []
    monkeypatch.setattr(consumer.pause, "wait", waits.append)

    assert next_of(consumer) is None

    (longest_s,) = waits
    assert longest_s is not None
    assert longest_s <= PERIODIC_CHECK_S


@pytest.mark.parametrize(
    ("broken", "table", "reason"),
    [
        ("update public.retention set time_column = 'x' where table_name = 'public.outages'", "public.outages", '"x"'),
        ("alter function public.keep_house() rename to kept_house", "public.retention", "keep_house"),
    ],
)
def test_house_keeping_that_fails_is_told_once_and_work_goes_on(
    small: Small, broken: str, table: str, reason: str
) -> None:
    rules = small.conn.execute("select table_name, time_column from public.retention").fetchall()
    its_turn = "update public.retention set next_at = '-infinity' where table_name = 'public.outages'"
    small.conn.execute(f"{its_turn}; {broken}".encode())
    first, second = jobs(small, 2)
    consumer = consumer_on(small, batch=1)
    try:
        with capture_logs() as logs:
            claims = [next_of(consumer)]
            small.conn.execute(its_turn.encode())
            consumer.periodic_at = 0
            claims.append(next_of(consumer))
    finally:
        for name, column in rules:
            small.conn.execute("update public.retention set time_column = %s where table_name = %s", (column, name))
        if "rename" in broken:
            small.conn.execute("alter function public.kept_house() rename to keep_house")

    assert claims == [[first], [second]]
    (told,) = (log for log in logs if log["event"] == "house.failed")
    assert told["table"] == table
    assert reason in told["reason"]


def test_whoever_claims_tells_that_it_works_and_how_much_it_has_in_hand(small: Small) -> None:
    small.conn.execute("delete from public.workers")
    consumer = consumer_on(small)
    jobs(small, 2)
    claimed(consumer)
    consumer.periodic_at = 0.0

    assert next_of(consumer) is None

    (told,) = small.conn.execute("select worker, queue, in_hand from public.workers").fetchall()
    assert told == (consumer.running.author.name, QUEUE, 2)
