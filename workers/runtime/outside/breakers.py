"""Breakers: whoever finds something outside in trouble tells all workers, and nobody calls it but a probe.

A breaker is open while an outage has not ended (`schema/023_outages.sql`). A call that is not answered opens it if the
same is not answered about nobody: then the trouble is not that of one row. While it is open, steps that would call
are cut short, and their messages wait. The probe that is answered closes it, and all that waited goes on.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar

import psycopg
import structlog

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.outcomes import Calls, NotNowError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SQL = named(__package__)
# What stands for all deletions outside, whatever the dependency, while they are paused (038).
DELETES = ("deletes", str(Calls.DELETE))
# Workers look at an open outage this often: it may have ended, or be due to be probed.
LOOK_S = 1.0
REASON_LIMIT = 1000
# After an outage its messages are woken at so many looks: some are only being put back when its end is seen.
WAKES = 2
# At one time: a million would take longer than a statement may.
WOKEN_MOST = 100_000

R = TypeVar("R")
Span: TypeAlias = tuple[datetime, datetime]
Use: TypeAlias = Callable[[Callable[[Connection], R]], R]


@dataclass(frozen=True, slots=True)
class Outages:
    """When dependencies were out lately: stretches that don't overlap, by dependency."""

    spans: Mapping[str, Sequence[Span]] = field(default_factory=dict)

    def within(self, since: datetime, until: datetime) -> timedelta:
        """How long any of them was out between two times."""
        cut = ((max(a, since), min(b, until)) for spans in self.spans.values() for a, b in spans)
        total, reached = timedelta(0), since
        for begin, end in sorted(span for span in cut if span[0] < span[1]):
            total += max(timedelta(0), end - max(begin, reached))
            reached = max(reached, end)
        return total


class Breakers:
    """The breakers of one queue as this process knows them; safe to use from every thread.

    Attributes:
        known: set while somebody has to look: any is open, or may be, or what waited for one is not awake yet.
        ready: unset while the process takes no messages, as something is lacking that may be its own: it tells nobody.
        outages: when the dependencies that `outlast` names were out.
    """

    def __init__(self, queue: str, use: Use[Any], longest_s: float, outlasted: Sequence[str] = ()) -> None:
        self.queue = queue
        self.known, self.ready = threading.Event(), threading.Event()
        # Outages that another process has found before this one was started.
        self.known.set()
        self.ready.set()
        self.outages = Outages()
        self._use = use
        self._longest = timedelta(seconds=longest_s)
        self._outlasted = list(outlasted)
        self._open: Mapping[tuple[str, str], NotNowError] = {}
        self._to_wake: dict[str, int] = {}
        self._refreshing = threading.Lock()

    def refresh(self, conn: Connection) -> None:
        """See which are open now, and what was out lately; one round trip."""
        with self._refreshing:  # what was seen first must not be noted last
            self._refresh(conn)

    def _refresh(self, conn: Connection) -> None:
        with conn.pipeline():
            opened = conn.execute(SQL["open"], {"queue": self.queue, "dependencies": self._outlasted})
            spans = conn.execute(SQL["spans"], {"dependencies": self._outlasted}) if self._outlasted else ()
        self._note({(row[0], row[1]): NotNowError(row[0], Calls(row[1]), row[2], row[3]) for row in opened})
        by_dependency: dict[str, list[Span]] = defaultdict(list)
        for dependency, begin, end in spans:
            by_dependency[dependency].append((begin, end))
        self.outages = Outages(by_dependency)

    def _note(self, opened: Mapping[tuple[str, str], NotNowError]) -> None:
        for place in self._open.keys() - opened.keys() - {DELETES}:
            metrics.OUTAGE.labels(*place).set(0)
        for place in opened.keys() - {DELETES}:
            metrics.OUTAGE.labels(*place).set(1)
        still = {dependency for dependency, _ in opened}
        ended = {dependency for dependency, _ in self._open} - still
        waiting = {dependency: looks for dependency, looks in self._to_wake.items() if dependency not in still}
        self._to_wake = waiting | dict.fromkeys(ended, WAKES)
        self._open = opened
        if opened or self._to_wake:
            self.known.set()
        else:
            self.known.clear()

    def troubles(self) -> list[NotNowError]:
        """All that is out now, by what this process knows."""
        return [error for place, error in self._open.items() if place != DELETES]

    def trouble(self, dependency: str, calls: Calls) -> NotNowError | None:
        """Why these calls must not be made now; None if they may."""
        known = self._open
        found = known.get((dependency, Calls.READ)) or known.get((dependency, calls))
        if found is None and calls is Calls.DELETE:
            found = known.get(DELETES)
        return found and NotNowError(found.dependency, found.calls, found.code, str(found))

    def check(self, dependency: str, calls: Calls) -> None:
        """Raise NotNowError while these calls must not be made."""
        found = self.trouble(dependency, calls)
        if found is not None:
            raise found

    def open(self, error: NotNowError) -> None:
        """Let all workers know, unless this one is not ready; the first to do so is the one who says so in the log."""
        if not self.ready.is_set():
            return
        given = self._of(error) | {"queue": self.queue, "longest": self._longest}
        try:
            begun = self._use(lambda conn: _one(conn, SQL["begin"], given))
            self._use(self.refresh)
        except psycopg.Error as unknown:
            log.warning("outage.untold", dependency=error.dependency, reason=str(unknown).strip())
            return
        if begun:
            log.error(
                "outage.began", dependency=error.dependency, calls=error.calls, code=error.code, reason=str(error)
            )

    def look(self) -> Sequence[tuple[str, Calls]]:
        """See what is open; those that this process is to probe now. What waited for others that ended is woken."""
        self._use(self.refresh)
        for ended in list(self._to_wake):
            self._wake(ended)
        if not self._open:
            return ()
        taken = {"queue": self.queue, "longest": self._longest}
        rows = self._use(lambda conn: conn.execute(SQL["take_probes"], taken).fetchall())
        return [(dependency, Calls(calls)) for dependency, calls in rows]

    def _wake(self, dependency: str) -> None:
        """Messages that were put back while the outage ended were not there to be woken; others were too many."""
        given = {"queue": self.queue, "dependency": dependency, "most": WOKEN_MOST}
        are_all = self._use(lambda conn: _one(conn, SQL["wake"], given)) < WOKEN_MOST
        with self._refreshing:
            looks = self._to_wake.pop(dependency, 0) - are_all
            if looks > 0:
                self._to_wake[dependency] = looks
            if not (self._open or self._to_wake):
                self.known.clear()

    def unanswered(self, error: NotNowError, dependency: str, calls: Calls) -> None:
        """A probe was in vain."""
        given = self._of(error) | {"dependency": dependency, "calls": calls}
        self._use(lambda conn: _one(conn, SQL["note"], given))

    def answered(self, dependency: str, calls: Calls) -> None:
        """A probe was answered: what waited goes on."""
        ended = self._use(lambda conn: _one(conn, SQL["end"], {"dependency": dependency, "calls": calls}))
        self._use(self.refresh)
        if ended:
            log.warning("outage.ended", dependency=dependency, calls=calls)

    def _of(self, error: NotNowError) -> dict[str, Any]:
        after = None if error.after_s is None else timedelta(seconds=min(max(error.after_s, 1), 3600))
        return {
            "dependency": error.dependency,
            "calls": error.calls,
            "code": error.code,
            "reason": str(error)[:REASON_LIMIT],
            "after": after,
        }


def _one(conn: Connection, statement: bytes, given: Mapping[str, Any]) -> Any:
    row = conn.execute(statement, given).fetchone()
    return row and row[0]
