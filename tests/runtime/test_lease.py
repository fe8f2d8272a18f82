"""Leases: renewed while a message is in hand, lost when they are not, and never somebody else's."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Token
from pgfleet.workers.runtime.leases import LeaseKeeper, Leases
from pgfleet.workers.runtime.outcomes import LeaseLostError
from pgfleet.workers.runtime.work import work
from worlds.fleet import PATIENCE_S, Connection, move_clock, stop_clock, until
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small

TOKEN = Token(1, 1)


@pytest.fixture
def keeper(small: Small) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(small.dsn, {QUEUE: small.worker.running.leases}, 90)
    yield keeper
    keeper.close()


def held_s(small: Small) -> dict[int, float]:
    """How long each message stays invisible."""
    return {msg_id: small.due_s(msg_id) for msg_id in small.queue()}


def claim_elsewhere(conn: Connection) -> list[Token]:
    return [message.token for message in claims.claim(conn, QUEUE, 10, timedelta(seconds=90))[0]]


def test_renewing_extends_what_is_in_hand_and_only_that(small: Small, keeper: LeaseKeeper) -> None:
    stop_clock(small.conn)
    mine, dropped, later = small.send(1), small.send(2), small.send(3, delay_s=30)
    tasks = small.worker.claim()
    small.worker.running.leases.drop([tasks[1].token])
    move_clock(small.conn, 20)

    keeper.renew()

    assert held_s(small) == {mine: 90, dropped: 70, later: 10}


def test_renewing_is_noted(small: Small, keeper: LeaseKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    small.send(1)
    (task,) = small.worker.claim()
    late = time.monotonic() + 89
    monkeypatch.setattr("time.monotonic", lambda: late)
    keeper.renew()
    monkeypatch.setattr("time.monotonic", lambda: late + 60)

    small.worker.running.leases.hold(task.token)


def test_with_nothing_in_hand_nobody_is_asked(small: Small) -> None:
    LeaseKeeper("postgresql://nowhere.invalid/", {QUEUE: small.worker.running.leases}, 90).renew()


def test_a_renewal_that_is_refused_extends_nothing(small: Small, keeper: LeaseKeeper) -> None:
    stop_clock(small.conn)
    msg_id = small.send(1)
    (task,) = small.worker.claim()
    move_clock(small.conn, 91)
    (other,) = claim_elsewhere(small.conn)
    move_clock(small.conn, 20)
    leases = small.worker.running.leases
    leases.take([task.token], time.monotonic() - 91)

    keeper.renew()

    assert held_s(small) == {msg_id: 70}
    assert other.read_ct == 2
    with pytest.raises(LeaseLostError):
        leases.hold(task.token)


def test_of_two_claims_of_one_message_in_one_process_only_the_newer_is_renewed(
    small: Small, keeper: LeaseKeeper
) -> None:
    small.send(1)
    (first,) = small.worker.claim()
    move_clock(small.conn, 91)
    (second,) = small.worker.claim()
    leases = small.worker.running.leases
    leases.take([first.token, second.token], time.monotonic() - 91)

    keeper.renew()

    leases.hold(second.token)
    with pytest.raises(LeaseLostError):
        leases.hold(first.token)


def test_what_is_being_settled_is_not_waited_for(small: Small, keeper: LeaseKeeper) -> None:
    stop_clock(small.conn)
    settling, other = small.send(1), small.send(2)
    small.worker.claim()
    move_clock(small.conn, 20)
    with psycopg.connect(small.dsn) as settler:
        kernel.delete(settler, QUEUE, [Token(settling, 1)])
        keeper.renew()
        settler.rollback()

    assert held_s(small) == {settling: 70, other: 90}


def test_a_renewal_that_comes_after_its_message_was_put_back_does_not_hide_it(small: Small) -> None:
    stop_clock(small.conn)
    msg_id = small.send(do(small.job(), "again_after"))
    (task,) = small.worker.claim()
    asked = small.worker.running.leases.tokens()
    work(small.worker.running, [task])

    kept = kernel.extend(small.conn, QUEUE, asked, timedelta(seconds=90))

    assert kept == set()
    assert held_s(small) == {msg_id: 30}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pgfleet.workers.runtime.leases.time.monotonic", clock)
    return clock


def test_a_lease_is_held_until_it_ends_and_no_longer(clock: Clock) -> None:
    leases = Leases(90)
    leases.take([TOKEN], asked_at=clock.now)

    clock.now += 89.9
    leases.hold(TOKEN)
    clock.now += 0.1
    with pytest.raises(LeaseLostError):
        leases.hold(TOKEN)


def test_a_lease_counts_from_when_it_was_asked_for(clock: Clock) -> None:
    leases = Leases(90)

    leases.take([TOKEN], asked_at=clock.now - 91)

    with pytest.raises(LeaseLostError):
        leases.hold(TOKEN)


def test_what_was_dropped_is_not_held_and_a_late_renewal_does_not_bring_it_back(clock: Clock) -> None:
    leases = Leases(90)
    leases.take([TOKEN], asked_at=clock.now)
    leases.drop([TOKEN])

    leases.renew([TOKEN], asked_at=clock.now)

    assert leases.tokens() == []
    with pytest.raises(LeaseLostError):
        leases.hold(TOKEN)


def test_the_token_of_another_claim_is_not_held(clock: Clock) -> None:
    leases = Leases(90)
    leases.take([TOKEN], asked_at=clock.now)

    with pytest.raises(LeaseLostError):
        leases.hold(Token(TOKEN.msg_id, TOKEN.read_ct + 1))


def test_a_step_does_not_start_without_its_lease(small: Small) -> None:
    small.job(1)
    msg_id = small.send(do(1))
    small.worker.running.leases.lease_s = -1

    small.worker.run_once()

    assert small.tools.seen == []
    assert small.queue() == [msg_id]
    assert list(small.headers(msg_id)["pgfleet"]) == ["claim"]


@pytest.mark.parametrize("error", [psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction])
def test_the_keeper_goes_on_after_an_error_of_the_database(
    small: Small, monkeypatch: pytest.MonkeyPatch, error: type[psycopg.Error]
) -> None:
    small.send(1)
    small.worker.claim()
    asked: list[int] = []

    def refuse(*_args: Any) -> None:
        asked.append(1)
        raise error

    monkeypatch.setattr("pgfleet.schema.queue.kernel.extend", refuse)
    keeper = LeaseKeeper(small.dsn, {QUEUE: small.worker.running.leases}, 0.03)
    keeper.start()

    until(lambda: len(asked) > 2, within_s=5)
    keeper.stop()
    keeper.join(PATIENCE_S)
    assert not keeper.is_alive()
