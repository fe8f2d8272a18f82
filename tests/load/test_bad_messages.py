"""A hundred thousand messages that nobody can read: each is a dead letter, and good ones among them cost no more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from subprocess import Popen
from typing import Any
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
import pytest

from worlds.database import Connection
from worlds.fleet import until, worker_process

GOOD, BAD = 100_000, 100_000
# The limit: what one good message may cost the worker with as many bad ones beside, of what it costs alone.
MOST = 1.2
HUGE = "x" * 200_000
# None is a message that is NULL. Each is sent as often as all others; a huge one now and then.
HOSTILE: tuple[Any, ...] = (
    None,
    7,
    "text",
    [],
    [1, 2, 3],
    {},
    True,
    {"action": "no such action"},
    {"action": ["advance"]},
    {"action": None},
    {"action": "advance"},
    {"action": "'; drop table public.reservations; --"},
    {"action": "heartbeat", "id": "not an id", "node_id": "one"},
    {"action": "advance", "reservation_id": 12, "ticket": "one"},
    {"action": "advance", "reservation_id": "\u202eevil\u0007", "ticket": 1},
    {"action": "\ud83d\ude00" * 200},
    {"action": "advance", "deep": json.loads("[" * 60 + "]" * 60)},
    {"action": "advance", "number": 10**300},
    {"action": "heartbeat", **{f"field{number}": number for number in range(50)}},
)
SEND = """
insert into pgmq.q_{queue} (vt, message, headers)
select now(), m, case
  when mod(n, 19) = 18 then '{{"pgfleet": 5, "x": "y"}}'::jsonb
  when mod(n, 23) = 22 then '[]'::jsonb end
from unnest(%s::jsonb[]) with ordinality as t (m, n)
"""


NODES = """
insert into autoscaler.nodes (id, name, region) select n, n, 'x' from generate_series(1, 100) n on conflict do nothing
"""
USERS = """
insert into hopsworks.users (id, email) select 'u' || n, n || '@example.com' from generate_series(1, 50) n
on conflict do nothing
"""
ASSIGNMENTS = """
insert into hopsworks.user_hopsworks_assignments (user_id, status)
select 'u' || n, 'pending' from generate_series(1, 50) n on conflict do nothing
"""
LETTERS = """
select count(*), count(*) filter (where reason <> '' and verdict = 'rejection') from public.dead_letters
"""


@dataclass(frozen=True)
class Kind:
    """A queue, its worker, and what makes so many good messages for it."""

    queue: str
    module: str
    good: int
    made: Any


def beats(conn: Connection, number: int) -> list[dict[str, Any]]:
    conn.execute(NODES)
    common = {"action": "heartbeat", "source": "autoscaler", "status": "healthy"}
    began = datetime(2026, 11, 29, tzinfo=UTC)
    return [
        {
            **common,
            "id": str(uuid4()),
            "node_id": n % 100 + 1,
            "sent_at": (began + timedelta(seconds=n // 100)).isoformat(),
        }
        for n in range(number)
    ]


def tickets(conn: Connection, number: int) -> list[dict[str, Any]]:
    """Of users who no longer wait for them: rows are loaded, steps decide, and nothing is to be done."""
    conn.execute(USERS)
    conn.execute(ASSIGNMENTS)
    return [{"action": "advance", "user_id": f"u{n % 50 + 1}", "ticket": 1} for n in range(number)]


KINDS = [
    Kind("node_heartbeats", "pgfleet.workers.heartbeat", GOOD, beats),
    Kind("cluster_assignments", "pgfleet.workers.assignment", 20_000, tickets),
]


@dataclass(frozen=True)
class Scene:
    conn: Connection
    kind: Kind
    process: Popen[bytes]

    def cost_s(self, bodies: list[Any]) -> float:
        """The CPU that the worker needs for them, from their commit to an empty queue."""
        before = self._cpu_s()
        with self.conn.cursor() as cursor:
            cursor.execute(
                SEND.format(queue=self.kind.queue).encode(),
                ([None if body is None else json.dumps(body) for body in bodies],),
            )
        until(self._is_empty, within_s=600, what="an empty queue")
        return self._cpu_s() - before

    def _is_empty(self) -> bool:
        return not self.conn.execute(
            f"select 1 from pgmq.q_{self.kind.queue} where vt < now() + interval '5 minutes' limit 1".encode()
        ).fetchall()

    def _cpu_s(self) -> float:
        parent = psutil.Process(self.process.pid)
        return sum(sum(each.cpu_times()[:2]) for each in (parent, *parent.children(recursive=True)))


def bad(number: int) -> list[Any]:
    bodies: list[Any] = list(islice(cycle(HOSTILE), number))
    bodies[:: number // 20] = [{"action": HUGE}] * len(bodies[:: number // 20])
    return bodies


def letters(conn: Connection) -> tuple[int, int]:
    """How many there are, and how many of them say why."""
    row = conn.execute(LETTERS).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


@contextmanager
def scene_on(dsn: str, conn: Connection, kind: Kind) -> Iterator[Scene]:
    # No sweep is in the figures.
    conn.execute("update public.periodic set next_at = 'infinity'")
    with worker_process(dsn, None, kind.module) as process:
        yield Scene(conn, kind, process)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.queue)
def test_good_messages_cost_no_more_where_every_other_is_bad(dsn: str, conn: Connection, kind: Kind) -> None:
    good, evil = kind.made(conn, kind.good), bad(BAD)
    share = BAD // kind.good
    mixed = [
        body
        for number, one in enumerate(kind.made(conn, kind.good))
        for body in (one, *evil[number * share : (number + 1) * share])
    ]

    with scene_on(dsn, conn, kind) as scene:
        scene.cost_s(good[:1000])
        alone = scene.cost_s(good[1000:]) * kind.good / (kind.good - 1000)
        of_bad = scene.cost_s(evil)
        after_bad = letters(conn)
        beside = scene.cost_s(mixed) - of_bad
        after = letters(conn)

    figures = f"{alone / kind.good * 1e6:.0f} us alone, {beside / kind.good * 1e6:.0f} us beside bad ones"
    print(f"\n{kind.queue}: a good message {figures}; a bad one {of_bad / BAD * 1e6:.0f} us")  # noqa: T201  # figures
    assert after_bad == (BAD, BAD)
    assert after == (2 * BAD, 2 * BAD)
    assert beside <= MOST * alone
    assert of_bad / BAD <= MOST * alone / kind.good
