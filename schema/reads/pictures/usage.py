"""What reservations had of GPUs in a month, as pages draw it: by day and type, and by user."""

from dataclasses import dataclass

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.usage import Month
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__, "usage")
MOST_USERS = 20


@dataclass(frozen=True, slots=True)
class GpuUse:
    """`days`: date, gpu_type, gpu_hours, reservations; `users`: user_id instead of the date, who had most first."""

    days: list[Row]
    users: list[Row]


def of_month(conn: Connection, month: Month, username: str | None) -> GpuUse:
    """Of one user, or of everybody; of users the first MOST_USERS."""
    rows = ask(conn, SQL["of_month"], first=month.first, after=month.after, username=username, most=MOST_USERS)
    return GpuUse([row for row in rows if row["date"]], [row for row in rows if row["date"] is None])
