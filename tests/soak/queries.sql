-- What is looked at every few seconds of a soak, and what has to hold when it has ended.

-- name: tables
-- Each table that is written: rows that live and that are dead by the statistics, how often it was changed, and bytes.
-- Of a table that is partitioned by day, all its days together.
select coalesce(p.inhparent, s.relid)::regclass::text as name, sum(s.n_live_tup)::float8 as live,
  sum(s.n_dead_tup)::float8 as dead, sum(s.n_tup_upd + s.n_tup_del)::float8 as changed,
  sum(pg_table_size(s.relid))::float8 as bytes, sum(pg_indexes_size(s.relid))::float8 as indexes
from pg_stat_user_tables s
left join pg_inherits p on p.inhrelid = s.relid
group by 1;

-- name: indexes
-- Those of the queues, each by itself.
select i.indexrelid::regclass::text as name, pg_relation_size(i.indexrelid)::float8 as bytes
from pg_stat_user_indexes i where i.schemaname = 'pgmq' and i.relname like 'q\_%%';

-- name: sessions
-- By who has opened them.
select coalesce(nullif(application_name, ''), backend_type) as name, count(*)::float8 as number
from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() group by 1;

-- name: depths
-- Messages that are due, of each queue.
select kind as name, ready::float8 as ready, in_hand::float8 as in_hand, oldest_s from public.queue_load;

-- name: server
-- WAL since ever in bytes, the oldest transaction in seconds, and deadlocks.
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as wal,
  (select coalesce(extract(epoch from clock_timestamp() - min(xact_start)), 0)::float8 from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()) as oldest_transaction_s,
  (select deadlocks from pg_stat_database where datname = current_database())::float8 as deadlocks;

-- name: kept
-- How many rows there are of what is let go after a while: what pruning takes is the difference.
select 'status_history' as name, count(*)::float8 as number,
  coalesce(extract(epoch from public.fleet_now() - min(at)), 0)::float8 as oldest_s from public.status_history
union all
select 'node_heartbeats', count(*), null from autoscaler.node_heartbeats
union all
select 'disk_operations', count(*), extract(epoch from public.fleet_now() - min(finished_at)) from public.disk_operations;

-- name: let_go
-- What has gone out of a table that is pruned.
select relname as name, n_tup_del::float8 as number from pg_stat_user_tables
where relname in ('status_history', 'disk_operations', 'pod_events', 'gpu_pods', 'event_subscriptions', 'limit_turns');

-- name: days
-- The tables of single days that there are.
select inhrelid::regclass::text as name from pg_inherits where inhrelid::regclass::text ~ '_p[0-9]{8}$';

-- name: shorten
-- What is kept for a while is kept for so long; days go whole.
update public.retention set keep = make_interval(secs => :seconds) where not by_day;

-- name: shorten_days
update public.retention set keep = make_interval(days => :days) where by_day;

-- name: house
-- All is looked at again by whoever is idle, and not only every ten minutes.
update public.retention set next_at = public.fleet_now();

-- name: broken_histories
-- Rows whose history has a gap, or ends elsewhere than the row: of what is kept of it.
with steps as (
  select machine, row_id, from_status, to_status,
    lag(to_status) over (partition by machine, row_id order by history_id) as before,
    lead(history_id) over (partition by machine, row_id order by history_id) is null as is_last
  from public.status_history
), rows as (
  select 'reservation' as machine, reservation_id::text as row_id, status from public.reservations
  union all select 'disk', disk_id::text, status from public.disks
  union all select 'disk_snapshot', snapshot_id::text, status from public.disk_snapshots
  union all select 'disk_operation', operation_id::text, status from public.disk_operations
)
select r.machine, r.row_id, r.status, s.from_status, s.before, s.to_status
from rows r join steps s using (machine, row_id)
where s.from_status <> s.before or (s.is_last and s.to_status <> r.status);

-- name: without_a_row
-- What was asked for and has neither a row nor a dead letter.
select wanted.id from unnest(:ids::text[]) as wanted (id)
where not exists (select from public.reservations r where r.reservation_id::text = wanted.id)
  and not exists (select from public.dead_letters d where d.row_id = wanted.id);

-- name: left
-- Whoever is not at rest.
select 'reservation ' || reservation_id::text as what, status, current_detailed_status as why
from public.reservations where reservation_ended is null
union all
select 'operation ' || operation_id::text, status, detail from public.disk_operations where finished_at is null
union all
select 'disk ' || disk_id::text, status, detail from public.disks
where status not in ('available', 'deleted', 'purged', 'failed') or pending_snapshot_count > 0
union all
select 'assignment ' || user_id, status, status_reason from hopsworks.user_hopsworks_assignments
where status not in ('released', 'failed')
union all
select 'outage ' || dependency, calls, reason from public.outages where ended_at is null
union all
select 'subscription ' || subscription_id::text, status, detail from public.event_subscriptions
where status in ('pending', 'failing')
union all
select 'queue ' || kind, ready || ' ready', in_hand || ' in hand' from public.queue_load where ready + in_hand > 0;

-- name: went_back
-- Moves of reservations back to their line, whose pods go and come again under the same name; of what is kept.
select history_id from public.status_history
where machine = 'reservation' and from_status = 'preparing' and to_status in ('pending', 'queued');
