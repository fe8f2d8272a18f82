"""Checks of what an operator holds back: kinds, deletions outside, nodes."""

from pgfleet.schema.brake.cordons import cordoned
from pgfleet.schema.brake.pauses import DELETES, paused, told
from pgfleet.schema.doctor.findings import Finding, Limits, Severity
from pgfleet.schema.printable import minute, printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row

BRAKE = "held back"
# What a restored database does not know of is there all the same.
_LOOK = "look at what was made outside since: pods without a reservation (below), `pgfleet disk` for volumes; then"


def held_back(conn: Connection, _: Limits) -> list[Finding]:
    return [*map(_paused, paused(conn)), *map(_cordoned, cordoned(conn))]


def _paused(row: Row) -> Finding:
    text = f"{row['name']} {told(row)}"
    was_restored = row["what"] == DELETES and row["by_whom"] == "pgfleet"
    return Finding(BRAKE, Severity.WARNING, text, f"{_LOOK} {row['resume']}" if was_restored else row["resume"])


def _cordoned(row: Row) -> Finding:
    why = f": {printable(row['reason'])}" if row["reason"] else ""
    on_it = len(row["reservation_ids"])
    text = (
        f"node {printable(row['node_name'])} cordoned by {printable(row['by_whom'])} "
        f"until {minute(row['until'])}{why}; reservations on it: {on_it}"
    )
    return Finding(BRAKE, Severity.OK, text)
