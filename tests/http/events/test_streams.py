"""A stream has every event that its listener may see, once, wherever it was cut off, and ends when it has to."""

import asyncio
import threading
from functools import partial

import psycopg
import pytest

from pgfleet.producers.http.events.hub import TooManyStreams
from pgfleet.producers.http.events.limits import Bounds, Pace
from pgfleet.producers.http.events.streams import stream
from pgfleet.schema.asking import Role
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor, CursorTooOld
from pgfleet.schema.feed.filters import ALL, Filters
from pgfleet.schema.identity.principal import Principal, Proof
from worlds.database import Connection
from worlds.feed.moves import make, move
from worlds.feed.streaming import ADA, OPERATOR, QUICK, Client, always, hub_of, listening, on_a_loop, until


def test_a_move_that_is_committed_comes_as_an_event(dsn: str, conn: Connection) -> None:
    """With its type, its position and its data on lines of their own."""

    async def run() -> Client:
        async with hub_of(dsn) as hub, listening(hub) as client:
            make(conn, "r1")
            await until(lambda: client.events)
            return client

    client = on_a_loop(run)

    assert client.retry_ms == QUICK.retry_ms
    assert [event["type"] for event in client.events] == ["fleet.reservation.pending"]
    assert client.cursor.history_id == int(client.events[0]["id"])


def test_who_comes_back_gets_what_came_meanwhile_and_goes_on_without_a_gap_or_a_double(
    dsn: str, conn: Connection
) -> None:
    """While rows are moved all the time, in pages smaller than what was missed."""
    start = reading.end(conn)
    made: list[str] = []
    stopping = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as own:
            while not stopping.is_set():
                made.append(make(own))

    def has(client: Client, many: int) -> bool:
        assert client.ended is None
        return len(client.rows) >= many

    async def run() -> list[str]:
        received: list[str] = []
        cursor = start
        async with hub_of(dsn, Bounds(page=7)) as hub:
            for _ in range(4):
                async with listening(hub, cursor=cursor) as client:
                    many = len(made) + 20 - len(received)
                    await until(partial(has, client, many))
                received += client.rows
                cursor = client.cursor
            stopping.set()
            writer.join()
            async with listening(hub, cursor=cursor) as client:
                await until(lambda: len(received) + len(client.rows) >= len(made))
                await until(lambda: client.beats > 1)
            return received + client.rows

    writer = threading.Thread(target=write)
    writer.start()
    try:
        received = on_a_loop(run)
    finally:
        stopping.set()

    assert received == made


def test_a_user_hears_of_rows_of_their_own_only(dsn: str, conn: Connection) -> None:
    """Live and from the database, whatever the filter asks for; nothing of nodes, nothing of others."""
    start = reading.end(conn)
    make(conn, "bob's before", "bob")
    make(conn, "ada's before", "ada")
    conn.execute("insert into autoscaler.nodes (name, region) values ('n', 'eu')")

    async def run(principal: Principal, filters: Filters) -> list[str]:
        async with (
            hub_of(dsn) as hub,
            listening(hub, OPERATOR, start) as all_of_it,
            listening(hub, principal, start, filters) as client,
        ):
            before = len(all_of_it.rows)
            make(conn, user="bob")
            make(conn, user="ada")
            await until(lambda: len(all_of_it.rows) >= before + 2)
            beats = client.beats
            await until(lambda: client.beats > beats + 1)
            return client.rows

    async def owners(principal: Principal, filters: Filters = ALL) -> set[str]:
        rows = await run(principal, filters)
        found = conn.execute(
            "select user_id from public.reservations where reservation_id = any (%s) union all"
            " select 'a node' where '1' = any (%s)",
            (rows, rows),
        )
        return {row[0] for row in found}

    assert on_a_loop(lambda: owners(ADA)) == {"ada"}
    assert on_a_loop(lambda: owners(ADA, Filters(user="bob"))) == set()
    assert on_a_loop(lambda: owners(ADA, Filters(row_id="bob's before"))) == set()
    assert on_a_loop(lambda: owners(Principal("bob", Role.NODE, Proof.NODE_KEY))) == set()
    assert on_a_loop(lambda: owners(OPERATOR, Filters(user="bob"))) == {"bob"}
    assert on_a_loop(lambda: owners(OPERATOR)) == {"ada", "bob", "a node"}


def test_a_slow_client_is_cut_off_and_comes_back_without_a_gap(dsn: str, conn: Connection) -> None:
    async def run() -> tuple[Client, list[str]]:
        async with hub_of(dsn, Bounds(queued=5)) as hub, listening(hub) as quick:
            slow, frames = Client(), await stream(hub, OPERATOR, None, ALL, always)
            while slow.last_id is None:
                slow.take(await anext(frames))
            for number in range(20):
                make(conn, str(number))
                await until(partial(lambda number: len(quick.rows) > number, number))
            await until(lambda: len(hub) == 1)
            async for frame in frames:
                slow.take(frame)
            async with listening(hub, cursor=start) as again:
                await until(lambda: len(again.rows) == 20)
            return slow, again.rows

    start = reading.end(conn)
    slow, rows = on_a_loop(run)

    assert slow.ended is not None
    assert slow.ended["reason"] == "slow"
    assert rows == [str(number) for number in range(20)]


def test_a_revoked_principal_is_cut_off(dsn: str) -> None:
    """Also who was refused while the database could not say: after a while that counts as no."""

    def away() -> bool:
        raise psycopg.OperationalError("the server is away")

    async def run(still_valid: object, pace: Pace) -> Client:
        async with hub_of(dsn, pace=pace) as hub, listening(hub, still_valid=still_valid) as client:  # type: ignore[arg-type]
            await until(lambda: client.ended)
            assert len(hub) == 0
            return client

    refused = on_a_loop(lambda: run(lambda: False, Pace(check_s=0.05)))
    unknown = on_a_loop(lambda: run(away, Pace(check_s=0.01, unchecked_s=0.02)))

    assert (refused.ended or {})["reason"] == "refused"
    assert (unknown.ended or {})["reason"] == "refused"


def test_a_stream_ends_after_its_life_and_is_resumable(dsn: str, conn: Connection) -> None:
    async def run() -> tuple[Client, Client]:
        async with hub_of(dsn, pace=Pace(life_s=0.3)) as hub:
            async with listening(hub) as first:
                await until(lambda: first.ended)
            make(conn, "between")
            async with listening(hub, cursor=first.cursor) as second:
                await until(lambda: second.events)
            return first, second

    first, second = on_a_loop(run)

    assert (first.ended or {})["reason"] == "life"
    assert second.rows == ["between"]


def test_a_beat_moves_the_position_on_past_what_is_not_asked_for(dsn: str, conn: Connection) -> None:
    """Who comes back after a quiet hour does not have the whole hour looked through."""

    async def run() -> Cursor:
        async with hub_of(dsn) as hub, listening(hub, ADA) as client:
            make(conn, user="bob")
            await until(lambda: client.cursor.history_id > 0)
            assert client.events == []
            return client.cursor

    cursor = on_a_loop(run)

    assert reading.read(conn, cursor).events == []


def test_what_can_not_begin_is_refused_before_the_answer_begins(dsn: str, conn: Connection) -> None:
    async def run() -> None:
        async with hub_of(dsn, Bounds(streams=1)) as hub, listening(hub):
            with pytest.raises(TooManyStreams):
                await stream(hub, ADA, None, ALL, always)
            with pytest.raises(CursorTooOld):
                await stream(hub, ADA, Cursor(9, 1, 1), ALL, always)

    make(conn)
    on_a_loop(run)


def test_an_answer_that_is_never_begun_gives_its_place_back(dsn: str) -> None:
    async def run() -> None:
        async with hub_of(dsn) as hub:
            frames = await stream(hub, ADA, None, ALL, always)
            assert len(hub) == 1
            del frames
            await until(lambda: len(hub) == 0)

    on_a_loop(run)


def test_a_request_waits_for_a_row_to_move(dsn: str, conn: Connection) -> None:
    """Until it has, not for others; at once where it has moved already; and no longer than asked for."""
    row_id = make(conn)
    last = reading.last_move(conn, "reservation", row_id)

    async def run() -> tuple[bool, bool, bool]:
        async with hub_of(dsn) as hub:
            assert not await hub.wait_for("reservation", row_id, last, 0.3)
            waiting = asyncio.create_task(hub.wait_for("reservation", row_id, last, 100))
            from_now = asyncio.create_task(hub.wait_for("reservation", row_id, None, 100))
            other = asyncio.create_task(hub.wait_for("reservation", "other", None, 0.5))
            await other
            assert not waiting.done()
            assert not from_now.done()
            move(conn, row_id, "queued")
            return await waiting, await from_now, await hub.wait_for("reservation", row_id, last, 100)

    assert on_a_loop(run) == (True, True, True)


def test_who_waits_for_a_row_is_answered_when_the_process_ends(dsn: str, conn: Connection) -> None:
    """Long before the time is over; and nobody else waits or listens there any more."""
    make(conn, "r1")

    async def run() -> list[bool]:
        async with hub_of(dsn) as hub:
            waiting = asyncio.create_task(hub.wait_for("reservation", "r1", None, 3600))
            await until(lambda: hub.looked_at and hub.position is not None)
            hub.end()
            with pytest.raises(TooManyStreams, match="ends"):
                hub.subscribe(OPERATOR, ALL)
            return [await waiting, await hub.wait_for("reservation", "r1", None, 3600)]

    assert on_a_loop(run) == [False, False]
