"""Nodes that are moved to and fro, many in one statement, so many in a second: real moves with their history."""

import threading
import time
from dataclasses import dataclass, field

import psycopg

from worlds.database import Connection
from worlds.fleet import until

TICK_S = 0.1
MADE = "insert into autoscaler.nodes (name, region) select 'n' || i, 'eu' from generate_series(1, %s) i"
# Who moves signs as a worker does: a person's changes are audited besides.
SIGNED = "select set_config('pgfleet.actor', 'load@here:1', true)"
MOVED = """
update autoscaler.nodes n
set status = (case n.status when 'ACTIVE' then 'ERROR' else 'ACTIVE' end)::autoscaler.node_status, status_reason = %s
where n.id between %s and %s
"""
HISTORY = """
select h.history_id, h.row_id, h.reason from public.status_history h
where h.machine = 'node' and h.reason like 'tick %'
order by h.timeline, h.xact_id, h.history_id
"""


@dataclass
class Moving:
    """Until `ended` is set, or all was moved; `committed` says when the commit of each tick was known."""

    dsn: str
    each: int
    ticks: int
    nodes: int
    committed: dict[str, float] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)
    begun_at: float = 0.0
    lasted_s: float = 0.0

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.begun_at = time.monotonic()
        self.thread.start()

    def _run(self) -> None:
        tick = 0
        while tick < self.ticks and not self.ended.is_set():
            try:
                with psycopg.connect(self.dsn, connect_timeout=5) as conn:
                    while tick < self.ticks and not self.ended.is_set():
                        tick += 1
                        time.sleep(max(self.begun_at + tick * TICK_S - time.monotonic(), 0))
                        self._tick(conn, tick)
            except psycopg.Error:
                # Whether it was committed the history knows.
                self.ended.wait(TICK_S)
        self.lasted_s = time.monotonic() - self.begun_at

    def _tick(self, conn: Connection, tick: int) -> None:
        first = tick * self.each % self.nodes
        with conn.pipeline():
            conn.execute(SIGNED)
            conn.execute(MOVED, (f"tick {tick}", first + 1, first + self.each))
        conn.commit()
        self.committed[f"tick {tick}"] = time.time()


@dataclass(frozen=True)
class Moved:
    """What was moved, in the order of the feed: the row of each move, and when it was committed, where it is known."""

    rows: dict[int, str]
    at: dict[int, float]


def moved(conn: Connection, moving: Moving) -> Moved:
    found = conn.execute(HISTORY).fetchall()
    at = {number: moving.committed[tick] for number, _, tick in found if tick in moving.committed}
    return Moved({number: row_id for number, row_id, _ in found}, at)


def make_nodes(conn: Connection, number: int) -> None:
    conn.execute(MADE, (number,))
    until(lambda: conn.execute("select count(*) from autoscaler.nodes").fetchone() == (number,))
    conn.execute("analyze")
