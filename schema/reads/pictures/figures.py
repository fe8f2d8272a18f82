"""Reading figures of the fleet: what they are now, and what they were."""

from datetime import timedelta

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import figures

# Nothing is counted further than this: 10,000 is so many or more.
MOST = 10_000
_COLUMNS = [sa.column(name, sa.Text) for name in ("figure", "about", "state")] + [sa.column("value", sa.Double)]


def now(conn: Connection) -> list[Row]:
    """All of them, one record each: figure, about, state, value (134 says what they mean)."""
    return fetch(conn, sa.select(sa.func.public.fleet_figures(MOST).table_valued(*_COLUMNS)))


def over_time(conn: Connection, figure: str, about: str, since: timedelta) -> list[Row]:
    """One figure of one thing since then, the oldest first: at, state, value; a record every five minutes and state."""
    f = figures.c
    begin = FLEET_NOW - since
    wanted = (f.figure == figure, f.about == about, f.at >= begin)
    return fetch(conn, sa.select(f.at, f.state, f.value).where(*wanted).order_by(f.at, f.state))


def take(conn: Connection, holder: str, for_s: int) -> bool:
    """Whether this process counts for all from now on, for so long; what it counts is kept."""
    (row,) = fetch(conn, sa.select(sa.func.public.take_figures(holder, for_s).label("is_ours")))
    if row["is_ours"]:
        fetch(conn, sa.select(sa.func.public.keep_figures()))
    return bool(row["is_ours"])
