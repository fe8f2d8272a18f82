"""What is open while the dashboard is loaded, what is changed meanwhile, and which page shows which change."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import psycopg

from load.moving import SIGNED
from worlds.database import Connection

NODES, EACH, ROWS, USERS = 5_000, 100, 20, 5
NUMBERS = {
    "tick": re.compile(rb"\btick (\d+)\b"),
    "mark": re.compile(rb"\bmark (\d+)\b"),
    "letter": re.compile(rb"(\d+)(?:</strong> failures? of | failed\b| dead letters?\b)"),
}
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


def moves_node(node: int, tick: int) -> bool:
    """Whether `Moving` moves it then."""
    return 0 < node - tick * EACH % NODES <= EACH


def moves_row(row: int, mark: int) -> bool:
    return row_of(mark) == row


def moves_user(user: int, mark: int) -> bool:
    return row_of(mark) % USERS == user


def always(_: int) -> bool:
    return True


@dataclass(frozen=True)
class Seen:
    """A page, how many have it open, and which changes it shows: their sort, and of which numbers."""

    path: str
    many: int
    sort: str
    shows: Callable[[int], bool] = always
    user: str = "ops"


PAGES = [
    Seen("/", 20, "letter"),
    Seen("/queues", 10, "letter"),
    Seen("/dead-letters", 10, "letter"),
    # Those that its list begins with are moved together.
    Seen("/nodes", 20, "tick", partial(moves_node, NODES)),
    *(Seen(f"/nodes/{node}", 1, "tick", partial(moves_node, node)) for node in range(40, NODES, 250)),
    Seen("/reservations", 5, "mark"),
    *(Seen("/reservations", 1, "mark", partial(moves_user, user), f"user-{user}") for user in range(USERS)),
    *(Seen(f"/reservations/{reservation(row)}", 1, "mark", partial(moves_row, row)) for row in range(1, 11)),
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
