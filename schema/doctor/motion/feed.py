"""A check of the feed of events: whether a transaction that somebody has left open holds it back."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity
from pgfleet.schema.feed.reading import Held, held
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection

FEED = "feed"


def feed(conn: Connection, limits: Limits) -> list[Finding]:
    found = held(conn)
    if found is None or found.seconds < limits.feed_held_s:
        return []
    text = f"committed moves are not told, for {found.seconds:.0f} s, as a transaction before them is open: {found}"
    return [Finding(FEED, Severity.WARNING, printable(text), _remedy(found), "held")]


def _remedy(found: Held) -> str:
    if found.prepared is not None:
        return "commit prepared or rollback prepared, as whoever prepared it"
    return f"if nobody needs it: select pg_terminate_backend({found.pid})" if found.pid else "look again"
