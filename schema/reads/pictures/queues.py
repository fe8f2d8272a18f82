"""Reading queues as pages draw them: what waits now, bounded, what came and went over a day, and who works."""

from collections import defaultdict
from collections.abc import Mapping

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pictures.figures import MOST
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__, "queues")
MOST_WORKERS = 500


def board(conn: Connection) -> list[Row]:
    """One row a queue: ready, delayed, in_hand, rejected and failed (each up to MOST), and oldest_ready_s.

    And messages a minute: in_a_minute, out_a_minute; None where that is not known yet.
    """
    return ask(conn, SQL["queues"], most=MOST)


def open_letters(conn: Connection) -> list[Row]:
    """How many dead letters are open: queue, verdict, number (up to MOST); failures first, the most first."""
    return ask(conn, SQL["open_letters"], most=MOST)


def depths_of_a_day(conn: Connection) -> Mapping[str, list[float]]:
    """Of each queue how much was ready over the last 24 hours, a value each quarter of an hour, the oldest first."""
    return _lines(ask(conn, SQL["depth_over_time"]))


def flows_of_a_day(conn: Connection) -> Mapping[tuple[str, str], list[float]]:
    """Of each queue, `in` and `out`: messages a minute over the last 24 hours, a value each quarter of an hour."""
    lines: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in ask(conn, SQL["flow_over_time"]):
        lines[row["queue"], row["state"]].append(row["value"])
    return lines


def _lines(rows: list[Row]) -> Mapping[str, list[float]]:
    lines: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        lines[row["queue"]].append(row["value"])
    return lines


def workers(conn: Connection) -> list[Row]:
    """Who has told within an hour that they work: worker, queue, version, in_hand, started_at, seen_at, silent_s."""
    return ask(conn, SQL["workers"], most=MOST_WORKERS)
