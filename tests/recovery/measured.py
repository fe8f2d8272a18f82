"""What is read from the history afterwards: how many messages were run in a span of time, and how long each took."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from recovery.crew import Crew
from worlds.database import Connection
from worlds.small.kind import QUEUE

FIRST_RUN = """
select row_id::bigint, extract(epoch from min(at))::float8 from public.status_history where msg_id is not null
group by 1
"""
DEAD_ROWS = """
select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables
where relid in (%s::regclass, 'public.small_jobs'::regclass, 'public.status_history'::regclass)
"""


@dataclass(frozen=True)
class Span:
    """From one moment to another, in seconds since 1970: the server has the clock of this machine."""

    since: float
    until: float

    @classmethod
    def of(cls, what: Callable[[], object]) -> Self:
        """While something is done."""
        since = time.time()
        what()
        return cls(since, time.time())

    @property
    def seconds(self) -> float:
        return self.until - self.since

    def has(self, at: float) -> bool:
        return self.since <= at < self.until


def passed(seconds: float) -> Span:
    """A span in which nothing is done here."""
    return Span.of(lambda: time.sleep(seconds))


@dataclass(frozen=True)
class Ran:
    """When each message was sent, and when it was first run."""

    sent: Mapping[int, float]
    ran: Mapping[int, float]

    def per_s(self, span: Span) -> float:
        return sum(map(span.has, self.ran.values())) / span.seconds

    def p99_ms(self, span: Span) -> float:
        """From its send to its row, of those sent in a span."""
        took = sorted(self.ran[each] - at for each, at in self.sent.items() if span.has(at) and each in self.ran)
        assert took, "nothing was sent"
        return 1000 * took[int(0.99 * (len(took) - 1))]

    def still_s(self, span: Span) -> float:
        """The longest time in which none was run."""
        moments = [span.since, *sorted(filter(span.has, self.ran.values())), span.until]
        return max(later - earlier for earlier, later in pairwise(moments))

    def longest_s(self, span: Span) -> float:
        """From its send to its row, of those sent in a span."""
        return max(self.ran[each] - at for each, at in self.sent.items() if span.has(at) and each in self.ran)


def all_that_ran(crew: Crew) -> Ran:
    with crew.live.connect() as conn:
        return Ran(dict(crew.sent), dict(conn.execute(FIRST_RUN.encode()).fetchall()))


def dead_rows(conn: Connection) -> int:
    """Rows of the queue, of the table and of its history that are dead, and that no vacuum has removed yet."""
    found = conn.execute(DEAD_ROWS.encode(), (f"pgmq.q_{QUEUE}",)).fetchone()
    assert found is not None
    return int(found[0])
