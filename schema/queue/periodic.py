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


def send_due(conn: Connection, queue: str) -> list[str]:
    """Turn the queue's due periodic rows into messages; their names."""
    return [row[0] for row in ask(conn.cursor(), queue, DUE).fetchall()]


def note_database(conn: Connection) -> bool:
    """Note which database this is (193); whether it is another one than before, so that deletions are paused now."""
    row = conn.execute("select public.note_database()").fetchone()
    return bool(row and row[0])


def note_worker(conn: Connection, me: str, queue: str, in_hand: int) -> None:
    """Say that this process works, so that people see who does (135)."""
    conn.execute("select public.note_worker(%s, %s, %s, %s)", (me, queue, version("pgfleet"), in_hand))


def keep_house(conn: Connection) -> tuple[str, str | None] | None:
    """Tidy one table that grows (103), if it is some table's turn; its name, and why it can't be tidied."""
    row = conn.execute("select public.keep_house()").fetchone()
    if row is None or row[0] is None:
        return None
    problem = conn.execute("select problem from public.retention where table_name = %s", row).fetchone()
    return row[0], problem[0] if problem else None
