"""What comes back by time: periodic rows become messages, and tables that grow are tidied."""

from importlib.metadata import version
from typing import LiteralString

from pgfleet.schema.queue.kernel import Connection, ask

# Due since long ago, it comes before all that others have sent, however much that is: nobody can hold it back by a
# queue that is full.
DUE: LiteralString = """
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


def look_after(conn: Connection, queue: str, me: str, in_hand: int) -> tuple[bool, list[str]]:
    """Say that this process works, and turn the queue's due periodic rows into messages; one trip and one transaction.

    Returns:
        Whether the database is another one than before (193), so that deletions are paused now; the names of the rows.
    """
    with conn.pipeline():
        noted = conn.execute("select public.note_database()")
        conn.execute("select public.note_worker(%s, %s, %s, %s)", (me, queue, version("pgfleet"), in_hand))
        due = ask(conn.cursor(), queue, DUE)
    row = noted.fetchone()
    return bool(row and row[0]), [row[0] for row in due.fetchall()]


def keep_house(conn: Connection) -> tuple[str, str | None] | None:
    """Tidy one table that grows (103), if it is some table's turn; its name, and why it can't be tidied."""
    row = conn.execute("select public.keep_house()").fetchone()
    if row is None or row[0] is None:
        return None
    problem = conn.execute("select problem from public.retention where table_name = %s", row).fetchone()
    return row[0], problem[0] if problem else None
