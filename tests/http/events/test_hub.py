"""One hub a process: what it costs, how many it bears, and what becomes of it when the server goes away."""

import asyncio
import tracemalloc
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from pgfleet.console.local import embedded
from pgfleet.producers.http.events import follower
from pgfleet.producers.http.events.limits import Bounds
from pgfleet.producers.http.events.subscription import Closed
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.filters import ALL, Filters
from worlds.database import Connection
from worlds.feed.moves import make
from worlds.feed.streaming import ADA, OPERATOR, hub_of, listening, on_a_loop, until

SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
MEBIBYTE = 1024 * 1024


def test_nobody_looks_and_the_database_is_not_asked(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No session before the first has come, and none soon after the last has gone."""
    monkeypatch.setattr(follower, "LINGER_S", 0.05)

    async def run() -> None:
        async with hub_of(dsn) as hub:
            assert conn.execute(SESSIONS).fetchone() == (0,)
            async with listening(hub):
                assert conn.execute(SESSIONS).fetchone() == (1,)
            await until(lambda: conn.execute(SESSIONS).fetchone() == (0,))
            async with listening(hub) as client:
                make(conn, "again")
                await until(lambda: client.rows == ["again"])

    on_a_loop(run)


def test_a_thousand_subscribers_share_what_they_get_and_keep_no_more_than_their_bound(
    dsn: str, conn: Connection
) -> None:
    """None of them takes anything: each is closed at its bound, and the events of all are the same bytes."""
    bounds = Bounds(queued=200)

    async def run() -> int:
        async with hub_of(dsn, bounds) as hub:
            everybody = [hub.subscribe(OPERATOR, ALL) for _ in range(bounds.streams)]
            for subscription in everybody:
                hub.follow(subscription)
            await until(lambda: all(subscription.start for subscription in everybody))
            tracemalloc.start()
            for number in range(bounds.queued):
                make(conn, str(number))
            await until(lambda: all(subscription.waiting == bounds.queued for subscription in everybody))
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            first, *others = [subscription.take() for subscription in everybody[:10]]
            assert all(mine is theirs for other in others for mine, theirs in zip(first, other, strict=True))
            make(conn)
            await until(lambda: len(hub) == 10)
            closed = [subscription for subscription in everybody if subscription.closed is not None]
            assert {subscription.closed for subscription in closed} == {Closed.SLOW}
            assert sum(subscription.waiting for subscription in closed) == 0
            return grown

    # A pointer for each event and subscriber, and each event once.
    assert on_a_loop(run) < 16 * MEBIBYTE


def test_each_subscriber_gets_what_it_asks_for_and_may_see(dsn: str, conn: Connection) -> None:
    asked = [Filters(), Filters(user="ada"), Filters(row_id="b"), Filters(states=frozenset({"queued"}))]

    async def run() -> list[list[str]]:
        async with hub_of(dsn) as hub:
            subscriptions = [hub.subscribe(who, filters) for who in (OPERATOR, ADA) for filters in asked]
            for subscription in subscriptions:
                hub.follow(subscription)
            await until(lambda: all(subscription.start for subscription in subscriptions))
            make(conn, "a", "ada")
            make(conn, "b", "bob")
            await until(lambda: subscriptions[0].waiting == 2)
            return [[each.event.row_id for each in subscription.take()] for subscription in subscriptions]

    assert on_a_loop(run) == [["a", "b"], ["a"], ["b"], [], ["a"], ["a"], [], []]


def test_a_pooler_is_polled(dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "is_pooler", lambda _: True)

    async def run() -> None:
        async with hub_of(dsn) as hub, listening(hub) as client:
            make(conn, "polled")
            await until(lambda: client.rows == ["polled"])

    on_a_loop(run)


def test_streams_live_through_a_restart_of_the_server(short_dir: Path) -> None:
    """Nothing is missed or comes twice; a transaction that was prepared before it holds the feed until it ends."""
    dsn = embedded.start(short_dir / "data")
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("alter system set max_prepared_transactions = 2")

    def restart() -> None:
        embedded.stop(short_dir / "data")
        assert urlsplit(embedded.start(short_dir / "data")) == urlsplit(dsn)

    async def run() -> list[str]:
        async with hub_of(dsn) as hub, listening(hub) as client:
            with psycopg.connect(dsn, autocommit=True) as conn:
                make(conn, "before")
            await until(lambda: client.rows == ["before"])
            await asyncio.to_thread(restart)
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("begin")
                make(conn, "prepared")
                conn.execute("prepare transaction 'left behind'")
            await asyncio.to_thread(restart)
            with psycopg.connect(dsn, autocommit=True) as conn:
                make(conn, "after")
                found = reading.held(conn)
                assert found is not None
                assert "the prepared transaction left behind" in str(found)
                await until(lambda: hub.position)
                assert client.rows == ["before"]
                conn.execute("commit prepared 'left behind'")
            await until(lambda: len(client.rows) == 3)
            return client.rows

    assert on_a_loop(run) == ["before", "prepared", "after"]
