"""What must be true of a fleet after all that happened to its worker: each figure's name says the claim."""

from typing import Any, LiteralString

from pgfleet.schema.queue.kernel import Connection

# A heartbeat is enqueued in batches and then has to be taken: silence is judged to within this.
SLACK_S = 2.0
FEW = 5

# Exactly those nodes are OFFLINE of which the queue had heard nothing for too long at the last sweep; an old heartbeat
# that came late was heard as well.
WRONG_NOW: LiteralString = """
select n.id, n.status::text, n.last_heartbeat at time zone 'UTC' as last_heartbeat, s.swept_at
from autoscaler.nodes n
cross join (
  select swept_at, swept_at - make_interval(secs => %(limit_s)s) as since from public.offline_sweeps
  where machine = 'node'
) s
where n.deleted_at is null and n.last_heartbeat is not null and case
  when n.status = 'OFFLINE' then exists (
    select from autoscaler.node_heartbeats h
    where h.node_id = n.id and h.timestamp >= s.since at time zone 'UTC')
  else n.last_heartbeat < s.since at time zone 'UTC' end
"""
WRONG_LAST_HEARTBEAT: LiteralString = """
select n.id, n.last_heartbeat, h.newest
from autoscaler.nodes n
left join (select node_id, max(timestamp) as newest from autoscaler.node_heartbeats group by 1) h on h.node_id = n.id
where n.last_heartbeat is distinct from h.newest
"""
# Marked although a heartbeat of it had been heard within the limit before.
WRONGLY_MARKED: LiteralString = """
select l.node_id, l.timestamp as marked_at, h.sent_at, h.timestamp as heard_at, l.extra_data::jsonb ->> 'last_heartbeat'
from autoscaler.node_lifecycle_logs l
cross join lateral (
  select sent_at, timestamp from autoscaler.node_heartbeats h
  where h.node_id = l.node_id
    and h.timestamp < l.timestamp - make_interval(secs => %(slack_s)s)
    and h.timestamp > l.timestamp - make_interval(secs => %(limit_s)s)
  order by h.timestamp desc limit 1
) h
where l.event_type = 'WENT_OFFLINE'
order by l.id
"""
# The log that the document asks for and the history that the machine keeps, change by change.
UNLIKE_HISTORY: LiteralString = """
with logged as (
  select node_id::text as row_id, previous_status, new_status,
    row_number() over (partition by node_id order by id) as place
  from autoscaler.node_lifecycle_logs where event_type not in ('DELETED', 'RESTORED')
), moved as (
  select row_id, from_status, to_status, row_number() over (partition by row_id order by history_id) as place
  from public.status_history where machine = 'node' and from_status <> '(new)'
)
select row_id, place, from_status, to_status, previous_status, new_status
from moved full join logged using (row_id, place)
where (from_status, to_status) is distinct from (previous_status, new_status)
"""
GAPS: LiteralString = """
with moved as (
  select row_id, from_status, to_status,
    lag(to_status, 1, '(new)') over (partition by row_id order by history_id) as before,
    lead(to_status) over (partition by row_id order by history_id) is null as newest
  from public.status_history where machine = 'node'
)
select n.id, m.from_status, m.before, m.to_status, n.status::text
from autoscaler.nodes n left join moved m on m.row_id = n.id::text
where m.row_id is null or m.from_status <> m.before or m.newest and m.to_status <> n.status::text
"""
COUNTED: LiteralString = "select count(*), count(distinct heartbeat_id) from autoscaler.node_heartbeats"
LEFT: LiteralString = "select count(*) from pgmq.q_node_heartbeats where message ->> 'action' = 'heartbeat'"
DEAD: LiteralString = "select count(*) from public.dead_letters where queue = 'node_heartbeats'"
STATUSES: LiteralString = "select id, status::text from autoscaler.nodes where deleted_at is null"
EVENTS: LiteralString = "select event_type, count(*) from autoscaler.node_lifecycle_logs group by 1 order by 1"


def look_at(conn: Connection, simulated: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """What was found; `simulated` is what `pgfleet simulate fleet --json` printed."""
    limits = {"limit_s": limit_s, "slack_s": SLACK_S}
    ((counted, distinct),) = conn.execute(COUNTED).fetchall()
    statuses: dict[int, str] = dict(conn.execute(STATUSES).fetchall())
    died = {node["node_id"] for node in simulated["died"]}
    offline = {node for node, status in statuses.items() if status == "OFFLINE"}
    return {
        "sent_unique": simulated["unique"],
        "counted": counted,
        "counted_twice": counted - distinct,
        "given_up": simulated["given_up"],
        "left_in_queue": _number(conn, LEFT),
        "dead_letters": _number(conn, DEAD),
        "dead_but_not_offline": sorted(died - offline),
        "silent_offline": len(offline - died),
        "wrong_last_heartbeat": conn.execute(WRONG_LAST_HEARTBEAT).fetchall(),
        "wrong_now": conn.execute(WRONG_NOW, limits).fetchall(),
        "wrongly_marked": conn.execute(WRONGLY_MARKED, limits).fetchall(),
        "unlike_history": conn.execute(UNLIKE_HISTORY).fetchall(),
        "gaps": conn.execute(GAPS).fetchall(),
        "events": dict(conn.execute(EVENTS).fetchall()),
    }


EMPTY = (
    *("counted_twice", "given_up", "left_in_queue", "dead_letters", "dead_but_not_offline", "wrong_last_heartbeat"),
    *("wrong_now", "wrongly_marked", "unlike_history", "gaps"),
)


def broken(found: dict[str, Any]) -> dict[str, Any]:
    """Those of the figures that must be nothing, and are not."""
    wrong = {name: _shown(found[name]) for name in EMPTY if found[name]}
    if found["counted"] != found["sent_unique"]:
        wrong["counted"] = (found["counted"], found["sent_unique"])
    return wrong


def _shown(value: Any) -> Any:
    """The first few of many, and how many."""
    return (len(value), *map(str, value[:FEW])) if isinstance(value, list) else value


def _number(conn: Connection, query: LiteralString) -> int:
    ((number,),) = conn.execute(query).fetchall()
    return int(number)
