"""A hundred open pages on one `pgfleet serve` while a thousand moves a second happen, and while its database is away.

A change has a number that its page shows: when the last byte of it is here is compared with when it was committed. The
server writes each statement of the login of `pgfleet serve` into its log, so all that pages ask is counted.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from load.moving import TICK_S, Moving, make_nodes
from load.shown import EACH, NEW, NODES, NUMBERS, PAGES, ROWS, USERS, Marking, Seen
from load.watching import Open, signed_in
from pgfleet.console.web.live.board import LEAST_S
from pgfleet.producers.http.events.limits import BOUNDS
from pgfleet.schema.identity import accounts, keys
from recovery.servers import Server
from worlds.api.program import Program, program

MIB = 1024 * 1024
WARM_S, LASTS_S = 5, 30
# Wanted are 250, which a machine does that has nothing else to do (bench/README.md). A busy one is late.
MOST_LATE_MS = 1_500
# As the server logs them: one that is prepared has a name.
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+):\s*(.*)")
# Each transaction of the dashboard begins so (`schema/identity/speaking.py`).
SPEAKS = "request.jwt.claims"
LOOKS = "e.xact_id::text as xact_id, e.history_id"


def login_and_keys(server: Server) -> tuple[str, dict[str, str]]:
    """The DSN of a login for `pgfleet serve`, whose statements are logged; and a key of each who looks."""
    with server.connect() as conn:
        conn.execute("create role serving login in role pgfleet_serve")
        conn.execute("alter role serving set log_statement = 'all'")
        make_nodes(conn, NODES)
        conn.execute(NEW, (USERS, 200))
        who = {user: "DEVOPS" if user == "ops" else "USER" for user in {page.user for page in PAGES}}
        for user, role in who.items():
            accounts.add(conn, f"{user}@example.org", username=user, role=role)
        made = {user: keys.make(conn, user, hours=10).key for user in who}
    return make_conninfo(server.dsn, user="serving"), made


@asynccontextmanager
async def opened(api: Program, made: dict[str, str]) -> AsyncIterator[list[tuple[Seen, Open]]]:
    """A hundred pages, each of which has come once."""
    cookies = {user: signed_in(api, key) for user, key in made.items()}
    watched = [
        (page, Open(page.path, cookies[page.user], NUMBERS[page.sort])) for page in PAGES for _ in range(page.many)
    ]
    async with AsyncExitStack() as stack:
        for _, each in watched:
            looking = asyncio.create_task(each.look(api.port))
            stack.callback(looking.cancel)
        await reached(lambda: all(each.messages > 2 for _, each in watched), "each page")
        yield watched


async def reached(condition: Callable[[], bool], what: str, within_s: float = 120) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110  # any condition
                await asyncio.sleep(0.1)
    assert condition(), what


def statements(server: Server) -> list[str]:
    return STATEMENT.findall((server.data / "server.log").read_text(errors="replace"))


@dataclass(frozen=True)
class Figures:
    """Of a while: how late each page was, what was asked in a second, and the CPU that it took, of one core."""

    late_ms: dict[str, list[float]]
    missed: dict[str, int]
    asked: float
    rendered: float
    looks: float
    cpu: float
    postgres: float
    rss: int

    def line(self, path: str) -> str:
        late = sorted(self.late_ms[path])
        half, most = late[len(late) // 2], late[int(0.99 * (len(late) - 1))]
        return f"| {path} | {len(late)} | {half:.0f} | {most:.0f} | {late[-1]:.0f} |"

    def late(self, share: float) -> float:
        everything = sorted(late for each in self.late_ms.values() for late in each)
        return everything[int(share * (len(everything) - 1))]

    def told(self) -> str:
        return "\n".join(
            [
                "",
                "| page | changes seen | half, ms | 99 of 100, ms | most, ms |",
                "|---|---|---|---|---|",
                *(self.line(path) for path in self.late_ms),
                f"All: half within {self.late(0.5):.0f} ms, 99 of 100 within {self.late(0.99):.0f} ms.",
                f"A second {self.rendered:.1f} renderings, {self.looks:.1f} looks, in all {self.asked:.0f} statements.",
                f"CPU {self.cpu:.0%} of a core and {self.postgres:.0%} of PostgreSQL, RSS {self.rss / MIB:.0f} MiB.",
            ]
        )


def ticks(moving: Moving) -> dict[int, float]:
    return {int(tick.removeprefix("tick ")): at for tick, at in list(moving.committed.items())}


def _cpu_s(api: Program) -> float:
    return float(sum(api.process.cpu_times()[:2]))


def _server_cpu_s(server: Server) -> float:
    """Of the sessions of the dashboard, which stay open."""
    with server.connect() as conn:
        pids = conn.execute("select pid from pg_stat_activity where usename = 'serving'").fetchall()
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for (pid,) in pids)


async def measured(
    api: Program, server: Server, watched: list[tuple[Seen, Open]], moving: Moving, marking: Marking
) -> Figures:
    await asyncio.sleep(WARM_S)
    before, cpu_s, postgres_s, began = len(statements(server)), _cpu_s(api), _server_cpu_s(server), time.time()
    await asyncio.sleep(LASTS_S)
    ended, cpu_s, postgres_s = time.time(), _cpu_s(api) - cpu_s, _server_cpu_s(server) - postgres_s
    asked = statements(server)[before:]
    # What was committed last is on its way.
    await asyncio.sleep(2)
    committed = {"tick": ticks(moving), **marking.committed}
    late_ms: dict[str, list[float]] = {}
    missed: dict[str, int] = {}
    for page, each in watched:
        name = re.sub(r"[0-9-]{2,}", "…", page.path)
        for number, at in list(committed[page.sort].items()):
            if began <= at < ended and page.shows(number):
                if number in each.seen:
                    late_ms.setdefault(name, []).append((each.seen[number] - at) * 1000)
                else:
                    missed[name] = missed.get(name, 0) + 1
    return Figures(
        late_ms,
        missed,
        len(asked) / LASTS_S,
        sum(SPEAKS in each for each in asked) / LASTS_S,
        sum(LOOKS in each for each in asked) / LASTS_S,
        cpu_s / LASTS_S,
        postgres_s / LASTS_S,
        api.process.memory_info().rss,
    )


def most_renderings_a_second() -> float:
    """Of each view as often as it changes, or may at most; and now and then though nothing moves."""
    moves = {"/nodes": 1 / TICK_S, "/": 5.0, "/reservations": 4.0, "/queues": 1.0, "/dead-letters": 1.0}
    views = {(page.path, page.user) for page in PAGES}
    return sum(min(moves.get(path, 0.2), 1 / LEAST_S) + 0.2 for path, _ in views)


def test_a_change_is_on_a_hundred_open_pages_at_once_and_rendered_once(server: Server) -> None:
    """While a thousand nodes move in each second; when nobody looks any more, nothing is asked."""
    dsn, made = login_and_keys(server)
    moving, marking = Moving(server.dsn, EACH, 100_000, NODES), Marking(server.dsn)

    async def watch(api: Program) -> Figures:
        async with opened(api, made) as watched:
            moving.start()
            marking.thread.start()
            found = await measured(api, server, watched, moving, marking)
            moving.ended.set()
            marking.ended.set()
        return found

    with program(dsn, PGFLEET_LOG_LEVEL="warning") as api:
        found = asyncio.run(watch(api))
        is_quiet = asyncio.run(asks_nothing(server))

    print(found.told())  # noqa: T201  # figures
    assert found.rendered <= most_renderings_a_second()
    assert is_quiet
    assert found.missed == {}
    assert found.late(0.99) <= MOST_LATE_MS


async def asks_nothing(server: Server) -> bool:
    """The feed is followed for some seconds more; after that only who is ready is asked, as without pages."""

    def read() -> int:
        return sum(SPEAKS in each or LOOKS in each for each in statements(server))

    async with asyncio.timeout(60):
        while (before := read()) is not None:
            await asyncio.sleep(5)
            if read() == before:
                return True
    return False


@dataclass(frozen=True)
class Size:
    """What a process holds."""

    threads: int
    files: int

    @classmethod
    def of(cls, api: Program) -> "Size":
        return cls(api.process.num_threads(), api.process.num_fds())


@pytest.mark.parametrize("way", ["stopped", "frozen"])
def test_open_pages_say_that_the_database_is_away_and_go_on_by_themselves(server: Server, way: str) -> None:
    """No stream is opened anew, what is changed afterwards is on each page, and nothing of the process is left over."""
    dsn, made = login_and_keys(server)
    marking = Marking(server.dsn)
    leave, come_back = {
        "stopped": (lambda: server.stop("immediate"), server.start),
        "frozen": (server.freeze, server.thaw),
    }[way]

    async def watch(api: Program) -> tuple[Size, Size, float, float]:
        async with opened(api, made) as watched:
            pages = [each for _, each in watched]
            before, away_at = Size.of(api), time.time()
            await asyncio.to_thread(leave)
            await reached(lambda: all(each.has_heard("stale", away_at) for each in pages), "told that it is away")
            told_s, back_at = time.time() - away_at, time.time()
            await asyncio.to_thread(come_back)
            await reached(lambda: all(each.has_heard("fresh", back_at) for each in pages), "told that it is back")
            fresh_s = time.time() - back_at
            await asyncio.to_thread(change_all, server, marking)
            await reached(lambda: all(shows_all(page, each, marking) for page, each in watched), "the changes")
            assert {each.times for each in pages} == {1}, "a page had to come back"
        await reached(lambda: Size.of(api).files < before.files - len(pages), "closed")
        return before, Size.of(api), told_s, fresh_s

    with program(dsn, PGFLEET_LOG_LEVEL="error") as api:
        before, after, told_s, fresh_s = asyncio.run(watch(api))

    print(f"{way}: told after {told_s:.1f} s, fresh after {fresh_s:.1f} s; {before} -> {after}")  # noqa: T201  # figures
    # Those that look whether sessions are still valid are begun when they are needed first.
    assert after.threads <= before.threads + BOUNDS.threads


def change_all(server: Server, marking: Marking) -> None:
    """A move of each reservation that is shown, and a dead letter."""
    with psycopg.connect(server.dsn) as conn:
        for mark in range(1, ROWS + 1):
            marking.move(conn, mark)
        marking.fail(conn, 1)


def shows_all(page: Seen, each: Open, marking: Marking) -> bool:
    return all(number in each.seen for number in marking.committed.get(page.sort, {}) if page.shows(number))
