"""What comes back by time: periodic rows become messages, and tables that grow are tidied."""

from importlib.metadata import version
from typing import LiteralString, NamedTuple

from pgfleet.schema.queue.kernel import Connection, ask

# Whether a row of the queue is due, and whether a table is. It is asked first, as to insert no message at all wakes the
# queue's workers, too.
LOOK: LiteralString = """
select
  not public.is_paused(%(queue)s)
    and exists (select from public.periodic where queue = %(queue)s and next_at <= public.fleet_now()),
  exists (select from public.retention where next_at <= public.fleet_now())
"""

# Due since long ago, it comes before all that others have sent, however much that is: nobody can hold it back by a
# queue that is full.
SEND: LiteralString = """
with due as (
  select name, message from public.periodic
  where queue = {name} and next_at <= public.fleet_now() and not public.is_paused({name})
  order by name
  for update skip locked
), sent as (
  insert into {q} (vt, message) select public.fleet_now() - interval '1 day', message from due
)
update public.periodic p set next_at = greatest(p.next_at + p.every, public.fleet_now())
from due where p.name = due.name
returning p.name
"""


class Due(NamedTuple):
    """What somebody has to do now.

    Attributes:
        to_send: periodic rows of the queue are to become messages (send_due).
        to_tidy: a table that grows is to be tidied (keep_house).
        moved: the database is another one than before (193), so that deletions are paused from now on.
    """

    to_send: bool
    to_tidy: bool
    moved: bool


def look_after(conn: Connection, queue: str, me: str, in_hand: int) -> Due:
    """Say that this process works, and ask what is due; one trip and one transaction."""
    with conn.pipeline():
        noted = conn.execute("select public.note_database()")
        conn.execute("select public.note_worker(%s, %s, %s, %s)", (me, queue, version("pgfleet"), in_hand))
        due = conn.execute(LOOK, {"queue": queue})
    return Due(*due.fetchall()[0], *noted.fetchall()[0])


def send_due(conn: Connection, queue: str) -> list[str]:
    """Turn the queue's due periodic rows into messages; their names. One that another worker has locked is its own."""
    return [name for (name,) in ask(conn.cursor(), queue, SEND).fetchall()]


def keep_house(conn: Connection) -> tuple[str, str | None] | None:
    """Tidy one table that grows (103), if it is some table's turn; its name, and why it can't be tidied."""
    row = conn.execute("select public.keep_house()").fetchone()
    if row is None or row[0] is None:
        return None
    problem = conn.execute("select problem from public.retention where table_name = %s", row).fetchone()
    return row[0], problem[0] if problem else None
