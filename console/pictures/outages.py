"""What people see of pauses and outages: a line for each, those that are open first."""

from collections.abc import Iterator

from rich.text import Text

from pgfleet.console.pictures.parts import cell
from pgfleet.producers.submit.wording import span
from pgfleet.schema.printable import minute, plural
from pgfleet.schema.rows.row import Row

# Of those that have ended.
SHOWN = 5


def pause_lines(pauses: list[Row]) -> Iterator[Text]:
    """`PAUSED deletions since 12:01 (3 min) by ops: maintenance; go on: pgfleet resume --deletes`."""
    for row in pauses:
        why = f": {row['reason']}" if row["reason"] else ""
        since = f"since {minute(row['since'])} ({span(row['lasted_s'])}) by {row['by_whom']}"
        yield cell(f"PAUSED {row['name']} {since}{why}; go on: {row['resume']}", "red")


def outage_lines(found: list[Row]) -> Iterator[Text]:
    ended = [row for row in found if row["ended_at"] is not None]
    yield from (_open(row) for row in found if row["ended_at"] is None)
    yield from map(_ended, ended[:SHOWN])
    if len(ended) > SHOWN:
        yield cell(f"and {len(ended) - SHOWN} more outages that have ended within a day", "dim")


def _open(row: Row) -> Text:
    """`OUTAGE kubernetes make since 12:01 (3 min): KUBERNETES_UNREACHABLE: ...; 14 messages wait`."""
    since = f"since {row['began_at']:%H:%M} ({span(row['lasted_s'])})"
    number = row["waiting"]
    wait = f"{plural(number, 'message')} wait{'s' * (number == 1)}"
    return cell(f"OUTAGE {_what(row)} {since}: {row['code']}: {row['reason']}; {wait}", "red")


def _ended(row: Row) -> Text:
    times = f"{row['began_at']:%H:%M} to {row['ended_at']:%H:%M} ({span(row['lasted_s'])})"
    return cell(f"ended: {_what(row)} {times}: {row['code']}: {row['reason']}", "dim")


def _what(row: Row) -> str:
    """Where reads are not answered, nothing is."""
    return str(row["name"]) if row["calls"] == "read" else f"{row['name']} {row['calls']}"
