"""Pauses: of a kind, whose messages stay in the queue, or of all deletions outside."""

from pgfleet.schema.errors import Refusal
from pgfleet.schema.kinds import contracts, queues
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import minute, printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
DELETES = "deletes"


def paused(conn: Connection) -> list[Row]:
    """What is paused, the oldest first: what, by_whom, reason, since, lasted_s; `name` for people, and what ends it."""
    return [Row({**row, **_called(row["what"])}) for row in ask(conn, SQL["pauses"])]


def _called(what: str) -> dict[str, str]:
    if what == DELETES:
        return {"name": "deletions", "resume": "pgfleet resume --deletes"}
    kind = queues().get(what, what)
    return {"name": kind, "resume": f"pgfleet resume {kind}"}


def pause_of(conn: Connection, kind: str) -> str | None:
    """Why nothing of a kind moves: `disk is paused by ops since 2026-11-29 12:01 UTC: moving`; None where it does."""
    return next((f"{kind} is {told(row)}" for row in paused(conn) if row["name"] == kind), None)


def told(row: Row) -> str:
    """`paused by ops since 2026-11-29 12:01 UTC: moving`."""
    why = f": {printable(row['reason'])}" if row["reason"] else ""
    return f"paused by {printable(row['by_whom'])} since {minute(row['since'])}{why}"


def pause(conn: Connection, what: str, who: str, reason: str | None) -> bool:
    """Pause a kind, or DELETES; whether it was not paused yet.

    Raises:
        Refusal: there is no such kind.
    """
    return bool(ask(conn, SQL["pause"], what=_stored(what), by_whom=who, reason=reason))


def resume(conn: Connection, what: str) -> bool:
    """Let a kind go on, or DELETES; whether it was paused.

    Raises:
        Refusal: there is no such kind.
    """
    return bool(ask(conn, SQL["resume"], what=_stored(what)))


def _stored(what: str) -> str:
    """As the table has it: a kind by its queue."""
    if what == DELETES:
        return what
    if what not in contracts():
        raise Refusal(f"There is no kind {what!r}. {meant(what, contracts())}")
    return contracts()[what].queue
