-- What `pgfleet doctor` looks at to see whether work goes on: periodic work, house-keeping, rows in their states.

-- name: overdue_work
-- Queues whose periodic work nobody has sent for so long that no worker can be running. A
-- queue that somebody holds back has its reason.
select p.queue, count(*) as tasks, extract(epoch from max(public.fleet_now() - p.next_at))::float8 as late_s
from public.periodic p
where p.next_at < public.fleet_now() - make_interval(secs => :late_s) and not public.is_paused(p.queue)
group by p.queue order by p.queue;

-- name: distant_work
-- Periodic work whose next time is further away than it comes back.
select p.name, quote_literal(p.name) as quoted, p.next_at::text as next_at
from public.periodic p
where p.next_at > public.fleet_now() + p.every + interval '1 minute' or not isfinite(p.next_at)
order by p.name;

-- name: untidy_tables
-- Tables that house-keeping fails at, or will not come to.
select r.table_name, quote_literal(r.table_name) as quoted, r.problem, r.problem_since::text as since,
  r.next_at::text as next_at
from public.retention r
where r.problem is not null or r.next_at > public.fleet_now() + interval '1 day'
order by r.table_name;

-- name: slow_rows
-- Live rows that have been in a state for longer than anything takes that is well. What waits for an outage, for a place
-- or for an operator is told by checks of its own.
select w.* from (
  select 'reservation' as what, r.reservation_id::text as row_id, r.status::text, r.status_since as since,
    r.current_detailed_status as shown
  from public.reservations r
  where r.status in ('pending', 'preparing') and r.status_since < public.fleet_now() - interval '1 hour'
    or r.status = 'queued' and r.status_since < public.fleet_now() - interval '49 hours'
  union all
  select 'reservation', r.reservation_id::text, 'active, and its time is over', r.expires_at, r.current_detailed_status
  from public.reservations r
  where r.status = 'active' and r.expires_at < public.fleet_now() - interval '15 minutes'
  union all
  select 'disk', d.disk_id::text, d.status, d.status_since, d.detail
  from public.disks d where d.status = 'creating' and d.status_since < public.fleet_now() - interval '2 hours'
  union all
  select 'snapshot', s.snapshot_id::text, s.status, s.status_since, s.failure_reason
  from public.disk_snapshots s where s.status = 'deleting' and s.status_since < public.fleet_now() - interval '1 day'
  union all
  select 'assignment', a.id::text, a.status, a.status_since, a.detail
  from hopsworks.user_hopsworks_assignments a
  where a.status = 'creating_user' and a.status_since < public.fleet_now() - interval '1 hour'
    and a.hopsworks_cluster_id not in (select u.cluster_id from hopsworks.unanswered_clusters u)
) w
where not public.is_paused(
    case w.what when 'reservation' then 'gpu_reservations' when 'assignment' then 'cluster_assignments'
      else 'disk_operations' end)
  and coalesce(w.shown, '') not like 'DELETES\_PAUSED:%'
  and not exists (
    select from public.outages o
    where o.ended_at is null and o.code = split_part(coalesce(w.shown, ''), ':', 1))
order by w.since, w.row_id;

-- name: fleet_tables
-- The tables of the queues of the fleet that are there.
select q.queue_name from public.fleet_queues q order by q.queue_name;

-- name: extra_moves
-- Moves that this version does not list, of the machines that it knows.
select m.machine, m.from_status, m.to_status,
  format('delete from public.moves where (machine, from_status, to_status) = (%L, %L, %L)',
    m.machine, m.from_status, m.to_status) as remedy
from public.moves m
where m.machine = any(:machines::text[])
  and m.machine || ': ' || m.from_status || ' -> ' || m.to_status <> all(:known::text[])
order by 1, 2, 3;

-- name: broken_histories
-- Histories of the last 30 days in which a move does not begin where the one before it ended. What is before the
-- first move may have been pruned (103), unless the database is younger than what is kept.
select h.machine, h.row_id, h.from_status, p.to_status as before
from public.status_history h
left join lateral (
  select b.to_status from public.status_history b
  where b.machine = h.machine and b.row_id = h.row_id and b.history_id < h.history_id
  order by b.history_id desc limit 1) p on true
where h.at > public.fleet_now() - interval '30 days' and h.machine = any(:machines::text[])
  and case when p.to_status is not null then p.to_status <> h.from_status
    else h.from_status <> '(new)' and (
      select min(m.applied_at) from public.schema_migrations m where m.version like 'schema/%') > public.fleet_now() - (
      select r.keep from public.retention r where r.table_name = 'public.status_history') end
order by h.history_id limit 1000;

-- name: untold
-- Subscriptions to events that have taken none for an hour, and those that were switched off for it in the last week, the
-- longest first.
select s.subscription_id::text as subscription_id, s.user_id, s.shown_url, s.status, s.status_since, s.status_reason,
  s.failing_since, s.last_answer
from public.event_subscriptions s
where s.status = 'failing' and s.failing_since < public.fleet_now() - interval '1 hour'
  or s.status = 'off' and s.failing_since is not null and s.status_since > public.fleet_now() - interval '7 days'
order by s.failing_since, s.subscription_id limit 20;
