"""The kernel's claim, its renewals and returns, beside other PGMQ clients, and the plans they run on."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Message, Outgoing, Token
from pgfleet.workers.runtime.task import Task
from worlds.fleet import Connection, move_clock, stop_clock
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small

LEASE = timedelta(seconds=90)
PLANNER = "select array_agg(name || setting order by name) from pg_settings where name ~ '^(enable|plan)_'"


def claim(conn: Connection, limit: int = 10) -> list[Message]:
    return claims.claim(conn, QUEUE, limit, LEASE)[0]


def next_due_s(conn: Connection) -> float | None:
    messages, due_s = claims.claim(conn, QUEUE, 10, LEASE)
    assert messages == []
    return due_s


def ids(messages: list[Message]) -> list[int]:
    return [message.token.msg_id for message in messages]


def test_what_is_due_longest_is_claimed_first(small: Small) -> None:
    late = small.send(1, delay_s=-5)
    last = small.send(2, delay_s=-1)
    first = small.send(3, delay_s=-60)

    assert ids(claim(small.conn, 1)) == [first]
    assert ids(claim(small.conn, 1)) == [late]
    assert ids(claim(small.conn, 1)) == [last]


def test_of_what_is_due_at_one_time_the_oldest_is_claimed_first(small: Small) -> None:
    sent = [row[0] for row in kernel.send(small.conn, QUEUE, [Outgoing(n) for n in range(5)])]

    assert ids(claim(small.conn, 3)) == sent[:3]
    assert ids(claim(small.conn, 3)) == sent[3:]


def test_delayed_messages_are_invisible_until_their_time(small: Small) -> None:
    msg_id = small.send(1, delay_s=60)
    assert claim(small.conn) == []

    move_clock(small.conn, 60)

    assert ids(claim(small.conn)) == [msg_id]


def test_an_empty_claim_says_when_to_come_back(small: Small) -> None:
    stop_clock(small.conn)
    assert next_due_s(small.conn) is None

    small.send(1, delay_s=9)
    small.send(2, delay_s=5)

    assert next_due_s(small.conn) == 5


def test_an_empty_claim_looks_no_further_than_ten_seconds_ahead(small: Small) -> None:
    """A worker looks again before that, and much that has been settled had its lease's end there."""
    stop_clock(small.conn)
    small.send(1, delay_s=11)

    assert next_due_s(small.conn) is None


def test_an_empty_claim_counts_the_end_of_leases(small: Small) -> None:
    stop_clock(small.conn)
    small.send(1)
    claim(small.conn)
    move_clock(small.conn, 85)

    assert next_due_s(small.conn) == 5


def test_what_another_client_has_locked_is_skipped(small: Small) -> None:
    locked, free = small.send(1), small.send(2)
    with psycopg.connect(small.dsn) as other:
        other.execute("select from pgmq.q_small_jobs where msg_id = %s for update", (locked,))

        assert ids(claim(small.conn)) == [free]


def test_workers_that_claim_at_once_share_without_overlap(small: Small) -> None:
    sent = [row[0] for row in kernel.send(small.conn, QUEUE, [Outgoing(n) for n in range(30)])]
    with psycopg.connect(small.dsn) as one, psycopg.connect(small.dsn) as two:
        first, second = claim(one), claim(two)

        assert (ids(first), ids(second)) == (sent[:10], sent[10:20])


def test_a_claim_commits_by_itself(small: Small) -> None:
    stop_clock(small.conn)
    msg_id = small.send(1)

    with psycopg.connect(small.dsn, autocommit=True) as other:
        (message,) = claim(other)

    assert message.token == Token(msg_id, 1)
    assert small.one("select read_ct from pgmq.q_small_jobs") == 1
    assert small.due_s(msg_id) == 90


@pytest.mark.parametrize("waits", ["on", "off"])
def test_a_claim_waits_for_the_disk_where_it_has_to_be_durable(small: Small, waits: str) -> None:
    small.send(1)
    with small.conn.transaction():
        small.conn.execute("set local synchronous_commit = on")

        claims.claim(small.conn, QUEUE, 10, LEASE, durable=waits == "on")

        assert small.one("show synchronous_commit") == waits


def test_a_claim_leaves_the_planner_to_the_session(small: Small) -> None:
    before = small.one(PLANNER)

    claim(small.conn)

    assert small.one(PLANNER) == before


def test_the_token_of_each_claim_is_another(small: Small) -> None:
    small.send(1)
    tokens = []
    for _ in range(3):
        tokens += [message.token.read_ct for message in claim(small.conn)]
        move_clock(small.conn, 91)

    assert tokens == [1, 2, 3]


def test_a_body_may_be_anything(small: Small) -> None:
    bodies = [None, 7, "text", [1, [2]], {"a": {"b": None}}]
    for body in bodies:
        small.send(body)

    assert [message.body for message in claim(small.conn)] == bodies


def test_secrets_of_a_message_are_in_no_repr(small: Small) -> None:
    small.send({"key": "hunter2"}, {"key": "hunter2"})
    small.conn.execute(
        "insert into pgmq.q_small_jobs (vt, message) values (public.fleet_now(), %s::jsonb)",
        ("[" * 3000 + '"hunter2"' + "]" * 3000,),
    )

    assert "hunter2" not in repr(claim(small.conn)) + repr(Outgoing("hunter2", headers="hunter2"))


def test_extend_renews_by_token_only(small: Small) -> None:
    stop_clock(small.conn)
    msg_id, other = small.send(1), small.send(2)
    claim(small.conn)
    move_clock(small.conn, 60)

    kept = kernel.extend(small.conn, QUEUE, [Token(msg_id, 1), Token(other, 2), Token(999, 1)], LEASE)

    assert kept == {Token(msg_id, 1)}
    assert small.due_s(msg_id) == 90
    assert small.due_s(other) == 30


def test_extend_says_which_of_two_tokens_of_one_message_holds(small: Small) -> None:
    msg_id = small.send(1)
    claim(small.conn)
    move_clock(small.conn, 91)
    claim(small.conn)

    assert kernel.extend(small.conn, QUEUE, [Token(msg_id, 1), Token(msg_id, 2)], LEASE) == {Token(msg_id, 2)}


def test_extend_skips_what_is_being_settled_right_now(small: Small) -> None:
    locked, free = small.send(1), small.send(2)
    claim(small.conn)
    with psycopg.connect(small.dsn) as other:
        kernel.delete(other, QUEUE, [Token(locked, 1)])

        assert kernel.extend(small.conn, QUEUE, [Token(locked, 1), Token(free, 1)], LEASE) == {Token(free, 1)}


def test_put_back_needs_the_token_and_keeps_read_ct(small: Small) -> None:
    stop_clock(small.conn)
    mine, others = small.send(1), small.send(2)
    claim(small.conn)
    tokens, delays = [Token(mine, 1), Token(others, 7)], [timedelta(seconds=5)] * 2

    back = kernel.put_back(small.conn, QUEUE, tokens, delays, [{"x": 1}, {"x": 2}]).fetchall()

    assert back == [(mine,)]
    assert small.due_s(mine) == 5
    assert small.due_s(others) == 90
    assert small.headers(mine) == {"x": 1}
    assert list(small.headers(others)["pgfleet"]) == ["claim"]
    assert small.all("select distinct read_ct from pgmq.q_small_jobs") == [1]


def test_put_back_at_once_makes_it_claimable_at_once(small: Small) -> None:
    msg_id = small.send(1)
    claim(small.conn)

    kernel.put_back(small.conn, QUEUE, [Token(msg_id, 1)], [timedelta(0)], [None])

    assert [message.token for message in claim(small.conn)] == [Token(msg_id, 2)]


def test_delete_needs_the_token(small: Small) -> None:
    mine, others = small.send(1), small.send(2)
    claim(small.conn)

    assert kernel.delete(small.conn, QUEUE, [Token(mine, 1), Token(others, 2)]).fetchall() == [(mine,)]
    assert small.queue() == [others]


def test_what_pgmq_sends_we_claim_and_its_delay_counts(small: Small) -> None:
    now = small.one("select pgmq.send('small_jobs', '{\"a\": 1}'::jsonb)")
    later = small.one("select pgmq.send('small_jobs', '{\"a\": 2}'::jsonb, 60)")
    batch = small.all("select pgmq.send_batch('small_jobs', array['1', '2']::jsonb[])")

    assert ids(claim(small.conn)) == [now, *batch]
    move_clock(small.conn, 61)
    assert ids(claim(small.conn)) == [later]


def test_what_pgmq_has_read_we_leave_and_what_we_hold_it_does_not_read(small: Small) -> None:
    theirs = small.send(1)
    assert small.all("select msg_id from pgmq.read('small_jobs', 30, 1)") == [theirs]
    ours = small.send(2)

    assert ids(claim(small.conn)) == [ours]
    assert small.all("select msg_id from pgmq.read('small_jobs', 30, 10)") == []


@pytest.mark.parametrize("verb", ["delete", "archive"])
def test_what_pgmq_takes_from_our_hands_is_lost_and_nothing_is_written(small: Small, verb: str) -> None:
    small.job(1)
    small.send(do(1))

    def take(_message: Any) -> None:
        small.conn.execute(f"select pgmq.{verb}('small_jobs', msg_id) from pgmq.q_small_jobs".encode())

    small.tools.during.append(take)
    small.worker.run_once()

    assert small.history() == ["ready"]
    assert (small.queue(), small.letters()) == ([], [])


def test_a_delay_by_pgmq_takes_no_lease_away(small: Small) -> None:
    small.job(1)
    small.send(do(1))
    small.tools.during.append(lambda _message: small.conn.execute("select pgmq.set_vt('small_jobs', 1, 5)"))

    small.worker.run_once()

    assert small.status() == "running"


def test_a_read_by_pgmq_after_our_lease_is_a_new_owner(small: Small) -> None:
    small.send(1)
    (message,) = claim(small.conn)
    small.conn.execute("update pgmq.q_small_jobs set vt = clock_timestamp()")
    small.conn.execute("select pgmq.read('small_jobs', 30, 1)")

    assert kernel.delete(small.conn, QUEUE, [message.token]).fetchall() == []
    move_clock(small.conn, 31)
    again = claim(small.conn)
    assert [(Task.of(message).deaths, Task.of(message).suspect) for message in again] == [(0, True)]
