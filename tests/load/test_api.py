"""Thousands at once at one `pgfleet serve`, which is killed, and whose database goes away: nothing is lost."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgfleet.schema.identity import accounts, keys
from recovery.servers import Server, standby_of
from worlds.api.program import Program, Told, asked, head_of, opened, program
from worlds.fleet import new_id

ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
MIB = 1024 * 1024
POST = "POST /v1/reservations"
ROWS = "select reservation_id::text from public.reservations"
MESSAGES = "select message ->> 'reservation_id' from pgmq.q_gpu_reservations"
MOVES = "select row_id from public.status_history where machine = 'reservation'"


def login_and_key(server: Server) -> tuple[str, str]:
    """The DSN of a login with the rights of `pgfleet serve`, and the key of an operator."""
    with server.connect() as conn:
        conn.execute("create role serving login in role pgfleet_serve")
        accounts.add(conn, "ada@example.org", username="ada", role="DEVOPS")
        key = keys.make(conn, "ada", hours=10).key
    return make_conninfo(server.dsn, user="serving"), key


def values(conn: psycopg.Connection[tuple[Any, ...]], query: str) -> list[str]:
    return [value for (value,) in conn.execute(query.encode())]


def test_of_two_thousand_streams_a_thousand_are_taken(server: Server) -> None:
    """The others are told when to come back, and the process stays small."""
    dsn, key = login_and_key(server)

    async def open_all(api: Program) -> tuple[Counter[int], bool, int]:
        connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        heads: list[tuple[int, dict[str, str]]] = []
        for _ in range(20):
            new = await asyncio.gather(*(opened(api.port, "GET /v1/events", key) for _ in range(100)))
            heads += await asyncio.gather(*(head_of(reader) for reader, _ in new))
            connections += new
        told = all("retry-after" in said for status, said in heads if status == 503)
        rss = api.process.memory_info().rss
        for _, writer in connections:
            writer.close()
        return Counter(status for status, _ in heads), told, rss

    with program(dsn) as api:
        before = api.process.memory_info().rss
        statuses, told, rss = asyncio.run(open_all(api))
        again = asyncio.run(asked(api.port, "GET /v1/me", key)).status

    print(f"RSS {before / MIB:.0f} -> {rss / MIB:.0f} MiB for 1,000 streams")  # noqa: T201  # a figure
    assert (statuses, told, again) == ({200: 1000, 503: 1000}, True, 200)
    assert rss - before < 150 * MIB


@dataclass
class Waiter:
    """One who asks again when its time is over, or when there was no thread for it; until the row moves."""

    api: Program
    key: str
    href: str

    async def wait(self) -> Told:
        while True:
            answer = await asked(self.api.port, f"GET {self.href}?wait=30", self.key)
            assert answer.status in {200, 503}, answer.body
            assert answer.status == 200 or "retry-after" in answer.headers
            if answer.json().get("status") == "queued" or b"requests wait, and no more are taken" in answer.body:
                return answer
            await asyncio.sleep(float(answer.headers.get("retry-after", 0)))


def test_two_thousand_who_wait_hold_no_threads(server: Server) -> None:
    """A thousand are held until the row moves; the others are told when to come back."""
    dsn, key = login_and_key(server)

    async def wait_all(api: Program) -> tuple[list[Told], int]:
        made = (await asked(api.port, POST, key, ASKED)).json()["href"]
        waiting = [asyncio.create_task(Waiter(api, key, made).wait()) for _ in range(2000)]
        await reached(lambda: sum(each.done() for each in waiting) >= 1000)
        threads = api.process.num_threads()
        with server.connect() as conn:
            conn.execute("update public.reservations set status = 'queued'")
        return await asyncio.gather(*waiting), threads

    with program(dsn) as api:
        answers, threads = asyncio.run(wait_all(api))

    assert Counter(answer.status for answer in answers) == {200: 1000, 503: 1000}
    assert threads <= 16 + 10


def check_kept(server: Server, accepted: list[str]) -> None:
    """Each that was accepted is a row and one message, and no id is there twice."""
    with server.connect() as conn:
        rows, messages = values(conn, ROWS), values(conn, MESSAGES)
    assert set(accepted) <= set(rows)
    assert sorted(rows) == sorted(messages)
    assert len(set(rows)) == len(rows)


def test_ten_thousand_requests_while_the_database_is_away_lose_nothing(server: Server) -> None:
    """Before it stops, while it is away, when it is back: 202 or 503 with Retry-After, and little memory."""
    dsn, key = login_and_key(server)
    places = asyncio.Semaphore(3000)
    statuses: Counter[int] = Counter()
    accepted: list[str] = []
    most = 0

    async def one(api: Program) -> None:
        nonlocal most
        async with places:
            answer = await asked(api.port, POST, key, ASKED, {"Idempotency-Key": new_id()})
        assert answer.status == 202 or "retry-after" in answer.headers, answer.body
        statuses[answer.status] += 1
        accepted.extend([answer.json()["id"]] if answer.status == 202 else [])
        most = max(most, api.process.memory_info().rss)

    async def all_of_them(api: Program) -> None:
        async with asyncio.TaskGroup() as asking:
            for _ in range(10_000):
                asking.create_task(one(api))
            await reached(lambda: statuses[202] >= 10)
            await asyncio.to_thread(server.stop, "immediate")
            away_at = statuses[503]
            await reached(lambda: statuses[503] >= away_at + 500)
            await asyncio.to_thread(server.start)
        accepted.extend([await again_until_taken(api, key) for _ in range(10)])

    with program(dsn) as api:
        before = api.process.memory_info().rss
        asyncio.run(all_of_them(api))

    print(f"{dict(statuses)}, RSS {before / MIB:.0f} -> {most / MIB:.0f} MiB")  # noqa: T201  # figures
    assert statuses.total() == 10_000
    assert set(statuses) == {202, 503}
    assert most - before < 250 * MIB
    check_kept(server, accepted)


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not condition():  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.05)


async def again_until_taken(api: Program, key: str, given: str | None = None) -> str:
    """As a good client does: the same key again until it is taken; its id."""
    same = {"Idempotency-Key": given or new_id()}
    async with asyncio.timeout(300):
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                answer = await asked(api.port, POST, key, ASKED, same)
                if answer.status == 202:
                    return str(answer.json()["id"])
                assert answer.status == 503, answer.body
            await asyncio.sleep(0.2)


@dataclass
class Listener:
    """One who follows all events, and comes back with the last id whenever the stream ends."""

    seen: list[str] = field(default_factory=list)
    last: str | None = None

    async def listen(self, api: Program, key: str) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._until_cut_off(api, key)
            await asyncio.sleep(0.1)

    async def _until_cut_off(self, api: Program, key: str) -> None:
        """An event counts when it is here to its end, and its id with it."""
        back = {} if self.last is None else {"Last-Event-ID": self.last}
        reader, writer = await opened(api.port, "GET /v1/events", key, headers=back)
        try:
            status, _ = await head_of(reader)
            assert status in {200, 503}
            while status == 200 and (block := (await in_chunks(reader))):
                self._take(dict(line.split(": ", 1) for line in block.decode().split("\n") if line))
        finally:
            writer.close()

    def _take(self, lines: Mapping[str, str]) -> None:
        assert lines.get("event") != "end" or json.loads(lines["data"])["reason"] != "too_old"
        self.last = lines.get("id", self.last)
        if "id" in lines and "data" in lines:
            self.seen.append(json.loads(lines["data"])["subject"])


async def in_chunks(reader: asyncio.StreamReader) -> bytes:
    """The next chunk, which is one block of the stream; empty at its end."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:size]


async def under_load(api: Program, server: Callable[[], Server], key: str, trouble: Awaitable[None]) -> list[str]:
    """600 requests of clients that try again, and a stream, while something happens; the ids that were accepted."""
    listener = Listener()
    listening = asyncio.create_task(listener.listen(api, key))
    await reached(lambda: listener.last is not None or listening.done())
    places = asyncio.Semaphore(20)

    async def one() -> str:
        async with places:
            return await again_until_taken(api, key)

    asking = [asyncio.create_task(one()) for _ in range(600)]
    await trouble
    accepted = await asyncio.gather(*asking)
    with server().connect() as conn:
        moves = Counter(values(conn, MOVES))
    await reached(lambda: set(moves) <= set(listener.seen) or listening.done())
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    assert Counter(listener.seen) == moves, "a gap or a double"
    return accepted


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_and_comes_back_loses_nothing(server: Server, sign: signal.Signals) -> None:
    """Three times under load; the stream goes on by its last id without a gap or a double."""
    dsn, key = login_and_key(server)

    async def trouble() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            await asyncio.to_thread(api.end, sign)
            await asyncio.to_thread(api.start)

    with program(dsn) as api:
        accepted = asyncio.run(under_load(api, lambda: server, key, trouble()))

    assert len(set(accepted)) == 600
    check_kept(server, accepted)


def test_a_failover_loses_nothing(server: Server, short_dir: Path) -> None:
    """A synchronous standby is promoted where the primary was killed; nothing is restarted."""
    dsn, key = login_and_key(server)
    standby = standby_of(server, short_dir / "two")
    hosts = {"host": "127.0.0.1,127.0.0.1", "port": f"{server.port},{standby.port}"}
    both = make_conninfo(dsn, **hosts, target_session_attrs="read-write")

    async def trouble() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(server.end)
        await asyncio.to_thread(standby.promote)

    try:
        with program(both) as api:
            accepted = asyncio.run(under_load(api, lambda: standby, key, trouble()))
        check_kept(standby, accepted)
    finally:
        standby.end()
