-- name: again
-- For each kind, what was in hand at a death and was claimed again: how many messages, and how long after the death they
-- were due, and claimed.
-- `calm` are those whose kind was let live meanwhile but for half a second, in which a successor begins.
with again as (
  select k.kind, extract(epoch from n.at - k.at)::float8 as s, extract(epoch from n.due - k.at)::float8 as due_s, not exists (
      select from public.storm_kills o
      where o.kind = k.kind and o.at > k.at + interval '0.5 s' and o.at < n.at) as calm
  from public.storm_kills k
  join public.storm_claims c on c.who = k.who
  join public.storm_claims n on (n.queue, n.msg_id, n.read_ct) = (c.queue, c.msg_id, c.read_ct + 1) and n.unanswered
)
select kind, count(*) as in_hand, count(*) filter (where calm) as calm, max(due_s) as due_s,
  percentile_cont(0.5) within group (order by s) filter (where calm) as half_s,
  max(s) filter (where calm) as longest_s, max(s) as longest_of_all_s
from again group by kind

-- name: rows
select 'reservation' as kind, count(*) as rows from public.reservations
union all
select 'disk', (select count(*) from public.disks) + (select count(*) from public.disk_snapshots)
  + (select count(*) from public.disk_operations)
union all
select 'assignment', (select count(*) from public.status_history where machine = 'assignment')
union all
select 'heartbeat', count(*) from public.heartbeat_ids
union all
select 'event', count(*) from public.event_subscriptions
