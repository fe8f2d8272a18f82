"""A hundred open pages on one `pgfleet serve` while a thousand moves a second happen, and while its database is away.

A change has a number that its page shows: when the last byte of it is here is compared with when it was committed. The
server writes each statement of the login of `pgfleet serve` into its log, so all that pages ask is counted.
"""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from load.moving import SIGNED, TICK_S, Moving, make_nodes
from load.watching import Open, signed_in
from pgfleet.console.web.live.board import LEAST_S
from pgfleet.schema.identity import accounts, keys
from recovery.servers import Server
from worlds.api.program import Program, program
from worlds.database import Connection

MIB = 1024 * 1024
NODES, EACH, ROWS, USERS = 5_000, 100, 20, 5
WARM_S, LASTS_S = 5, 30
MOST_LATE_MS = 250
NUMBERS = {
    "tick": re.compile(rb"\btick (\d+)\b"),
    "mark": re.compile(rb"\bmark (\d+)\b"),
    "letter": re.compile(rb"(\d+)(?:</strong> failures? of | failed\b| dead letters?\b)"),
}
# As the server logs them: one that is prepared has a name.
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+):\s*(.*)")
# Each transaction of the dashboard begins so (`schema/identity/speaking.py`).
SPEAKS = "request.jwt.claims"
LOOKS = "e.xact_id::text as xact_id, e.history_id"
NEW = """
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at, name)
select ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'user-' || i %% %s, 'pending', 'h100', 1, 1,
  now() - i * interval '1 second', 'training ' || i
from generate_series(1, %s) i
"""
MOVE = """
update public.reservations
set status = case status when 'queued' then 'preparing' else 'queued' end, current_detailed_status = %s
where reservation_id = %s
"""
LETTER = """
insert into public.dead_letters (queue, msg_id, reason, enqueued_at, verdict)
values ('gpu_reservations', %s, 'KeyError', now(), 'failure')
"""


def row_of(mark: int) -> int:
    return mark % ROWS + 1


def reservation(row: int) -> str:
    return f"00000000-0000-4000-8000-{row:012}"


def is_in(tick: int, node: int) -> bool:
    """Whether `Moving` moves this node then."""
    return 0 < node - tick * EACH % NODES <= EACH


@dataclass(frozen=True)
class Seen:
    """A page, how many have it open, and which changes it shows: their sort, and of which numbers."""

    path: str
    many: int
    sort: str
    shows: Callable[[int], bool] = lambda _: True
    user: str = "ops"


PAGES = [
    Seen("/", 20, "letter"),
    Seen("/queues", 10, "letter"),
    Seen("/dead-letters", 10, "letter"),
    # The first of its list are moved together.
    Seen("/nodes", 20, "tick", lambda tick: is_in(tick, 1)),
    *(Seen(f"/nodes/{node}", 1, "tick", lambda tick, node=node: is_in(tick, node)) for node in range(40, NODES, 250)),
    Seen("/reservations", 5, "mark"),
    *(
        Seen("/reservations", 1, "mark", lambda mark, user=user: row_of(mark) % USERS == user, f"user-{user}")
        for user in range(USERS)
    ),
    *(
        Seen(f"/reservations/{reservation(row)}", 1, "mark", lambda mark, row=row: row_of(mark) == row)
        for row in range(1, 11)
    ),
]


@dataclass
class Marking:
    """Beside the nodes: four reservations a second, and a dead letter; when each was committed."""

    dsn: str
    committed: dict[str, dict[int, float]] = field(default_factory=lambda: {"mark": {}, "letter": {}})
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with psycopg.connect(self.dsn) as conn:
            for mark in count(1):
                if self.ended.wait(0.25):
                    return
                self.move(conn, mark)
                if mark % 4 == 0:
                    self.fail(conn, mark // 4)

    def move(self, conn: Connection, mark: int) -> None:
        conn.execute(SIGNED)
        conn.execute(MOVE, (f"mark {mark}", reservation(row_of(mark))))
        conn.commit()
        self.committed["mark"][mark] = time.time()

    def fail(self, conn: Connection, letter: int) -> None:
        conn.execute(LETTER, (letter,))
        conn.commit()
        self.committed["letter"][letter] = time.time()


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
    """Of a while: what each page was late by, and what it took."""

    late_ms: dict[str, list[float]]
    missed: dict[str, int]
    asked_a_second: float
    rendered_a_second: float
    looks_a_second: float
    cpu: float
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
                f"all: half within {self.late(0.5):.0f} ms, 99 of 100 within {self.late(0.99):.0f} ms;",
                f"{self.rendered_a_second:.1f} renderings and {self.looks_a_second:.1f} looks at the feed a second,"
                f" {self.asked_a_second:.0f} statements in all;",
                f"CPU {self.cpu:.0%} of a core, RSS {self.rss / MIB:.0f} MiB",
            ]
        )


def ticks(moving: Moving) -> dict[int, float]:
    return {int(tick.removeprefix("tick ")): at for tick, at in list(moving.committed.items())}


async def measured(
    api: Program, server: Server, watched: list[tuple[Seen, Open]], moving: Moving, marking: Marking
) -> Figures:
    await asyncio.sleep(WARM_S)
    before, cpu_s, began = len(statements(server)), sum(api.process.cpu_times()[:2]), time.time()
    await asyncio.sleep(LASTS_S)
    ended, cpu_s = time.time(), sum(api.process.cpu_times()[:2]) - cpu_s
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
    assert found.missed == {}
    assert found.rendered_a_second <= most_renderings_a_second()
    assert is_quiet
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

    print(f"{way}: told after {told_s:.1f} s, fresh again after {fresh_s:.1f} s; {before} -> {after}")  # noqa: T201  # figures
    assert after.threads <= before.threads


def change_all(server: Server, marking: Marking) -> None:
    """A move of each reservation that is shown, and a dead letter."""
    with psycopg.connect(server.dsn) as conn:
        for mark in range(1, ROWS + 1):
            marking.move(conn, mark)
        marking.fail(conn, 1)


def shows_all(page: Seen, each: Open, marking: Marking) -> bool:
    return all(number in each.seen for number in marking.committed.get(page.sort, {}) if page.shows(number))
