"""What is known of a message that is too large to be loaded, or that nobody can read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg.types.json import set_json_loads

from pgfleet.schema.queue.kernel import Connection, ask
from pgfleet.schema.queue.reading import keep_json

# Fields are looked at where that is cheap; of each, as much as an id may have.
LOOK: LiteralString = """
select msg_id, coalesce(pg_column_size(message), 0) + coalesce(pg_column_size(headers), 0),
  case when pg_column_size(message) <= 1048576 and pg_column_size(array[message]) <= 4194304 then (
    select jsonb_object_agg(name, left(message ->> name, 200))
    from unnest(%(names)s::text[]) name
    where jsonb_typeof(message -> name) in ('string', 'number')
  ) end
from {q}
where msg_id = any (%(ids)s::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Note:
    """How many bytes the queue keeps of a message, and some of its fields, cut."""

    kept_bytes: int
    fields: bytes | None = field(repr=False)


def look_at(conn: Connection, queue: str, ids: Sequence[int], names: Sequence[str]) -> dict[int, Note]:
    """What there is of messages, by their ids; of the fields `names` those that hold a text or a number."""
    cursor = conn.cursor()
    set_json_loads(keep_json, cursor)
    values = {"ids": list(ids), "names": list(names)}
    return {row[0]: Note(row[1], row[2]) for row in ask(cursor, queue, LOOK, values).fetchall()}
