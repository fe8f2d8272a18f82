"""The claim whose answer never came: the connection broke between its commit and its answer."""

from datetime import timedelta
from typing import LiteralString

from pgfleet.schema.queue.kernel import Connection, ask

FIND: LiteralString = """
with found as (
  select msg_id from {q}
  where vt > public.fleet_now() and vt <= public.fleet_now() + %(lease)s
    and headers #>> '{{pgfleet,claim}}' = %(mark)s
  order by msg_id
  for update
)
update {q} q set vt = public.fleet_now() + %(delay)s, headers = q.headers #- '{{pgfleet,claim}}'
where q.msg_id = any (array(select msg_id from found))
returning q.msg_id
"""


def give_back_claim(conn: Connection, queue: str, mark: str, lease: timedelta, delay: timedelta) -> int:
    """Give back what a claim has taken whose answer was lost, as if it had not been; how many messages.

    What has been claimed since has another mark. Other clients leave marks as they are: ask only before the lease ends.
    """
    values = {"mark": mark, "lease": lease, "delay": delay}
    return ask(conn.cursor(), queue, FIND, values).rowcount
