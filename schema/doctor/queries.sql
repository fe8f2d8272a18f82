-- What `pgfleet doctor` looks at, in the order of its checks.

-- name: versions
-- Which they are of the server and of PGMQ.
select current_setting('server_version') as server, current_setting('server_version_num')::int / 10000 as major,
  to_regprocedure('pgmq.create(text)') is not null as has_pgmq,
  (select extversion from pg_extension where extname = 'pgmq') as pgmq;

-- name: recorded_files
-- The files that were applied.
select version, checksum from public.schema_migrations order by version;

-- name: settings
-- What new sessions get: reset_val is the database's, or the server's where the database says nothing.
select quote_ident(current_database()) as database,
  (select split_part(setting, '=', 2)
   from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) as setting
   where d.datname = current_database() and s.setrole = 0 and setting like 'search_path=%') as search_path,
  (select reset_val from pg_settings where name = 'fsync') as fsync,
  (select reset_val from pg_settings where name = 'full_page_writes') as full_page_writes,
  (select reset_val from pg_settings where name = 'synchronous_commit') as synchronous_commit;

-- name: old_transactions
-- Everything that keeps vacuum from removing dead rows of this database. Never what a session runs: a query may hold
-- secrets. Vacuum itself is no reason for vacuum to wait.
select 'session' as kind, pid, application_name as name, quote_literal(application_name) as quoted, state,
  extract(epoch from clock_timestamp() - xact_start)::float8 as age_s, age(backend_xmin) as age_xids
from pg_stat_activity
where datname = current_database() and xact_start is not null and backend_type <> 'autovacuum worker'
  and pid <> pg_backend_pid() and leader_pid is distinct from pg_backend_pid()
union all
select 'replica', pid, application_name, quote_literal(application_name), state, null, age(backend_xmin)
from pg_stat_activity
where backend_type = 'walsender' and xact_start is null and backend_xmin is not null
union all
select 'prepared', null, gid, quote_literal(gid), 'prepared',
  extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
from pg_prepared_xacts where database = current_database()
union all
select 'slot', active_pid, slot_name, quote_literal(slot_name), case when active then 'active' else 'inactive' end,
  null, age(xmin)
from pg_replication_slots where xmin is not null
order by age_s desc nulls last, age_xids desc nulls last;

-- name: queue_sizes
-- The tables of these queues. After a crash the statistics begin at 0 again; then the planner's estimate knows better.
select quote_ident(s.schemaname) || '.' || quote_ident(s.relname) as name, s.n_dead_tup as dead,
  greatest(s.n_live_tup, c.reltuples::bigint) as live, pg_table_size(s.relid) as bytes
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where s.schemaname = 'pgmq' and s.relname = any(:tables::text[])
order by s.relname;

-- name: invalid_indexes
-- Indexes that are not valid. One that is being built right now is not valid yet.
select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name, c.relname ~ '_cc(new|old)[0-9]*$' as is_left
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not i.indisvalid and c.relkind = 'i' and n.nspname = any(:schemas::text[])
  and not exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid)
order by name;

-- name: filling_sequences
-- Integer keys that have used so much of their numbers.
with owned as (
  select quote_ident(tn.nspname) || '.' || quote_ident(t.relname) as table_name,
    quote_ident(a.attname) as column_name,
    quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename) as sequence_name,
    d.deptype = 'i' as is_identity, s.last_value,
    least(s.max_value, case a.atttypid when 'int2'::regtype then 32767 else 2147483647 end) as most
  from pg_sequences s
  join pg_namespace sn on sn.nspname = s.schemaname
  join pg_class c on c.relnamespace = sn.oid and c.relname = s.sequencename
  join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
    and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  join pg_class t on t.oid = d.refobjid
  join pg_namespace tn on tn.oid = t.relnamespace
  where s.schemaname = any(:schemas::text[]) and not s.cycle and a.atttypid in ('int2'::regtype, 'int4'::regtype)
)
select * from owned where last_value > most * :share::float8 order by table_name, column_name;

-- name: gpu_counters
-- GPU types whose counter is not what their reservations hold, or more than there are.
with held as (
  select gpu_type, sum(gpus_held) as gpus from public.reservations where gpus_held > 0 group by gpu_type
)
select g.gpu_type, g.held_gpus as counted, coalesce(h.gpus, 0) as held, g.total_cluster_gpus as total,
  quote_literal(g.gpu_type) as quoted
from public.gpu_types g left join held h using (gpu_type)
where g.held_gpus <> coalesce(h.gpus, 0) or g.held_gpus > g.total_cluster_gpus
order by g.gpu_type;

-- name: seat_counters
-- Clusters whose counter is not that of their users. A seat is a row with a cluster, as the documents count them.
with taken as (
  select hopsworks_cluster_id as id, count(user_id) as seats
  from hopsworks.user_hopsworks_assignments where hopsworks_cluster_id is not null group by hopsworks_cluster_id
)
select c.name, c.id, coalesce(c.current_users, 0) as counted, coalesce(t.seats, 0) as taken
from hopsworks.hopsworks_clusters c left join taken t using (id)
where coalesce(c.current_users, 0) <> coalesce(t.seats, 0)
order by c.name, c.id;

-- name: open_breakers
-- Hopsworks clusters that are left alone.
select c.id::text, c.name, b.kind, b.reason,
  extract(epoch from public.fleet_now() - b.opened_at)::float8 as open_s,
  b.retry_at < public.fleet_now() - interval '60 seconds' as is_overdue
from hopsworks.cluster_breakers b join hopsworks.hopsworks_clusters c on c.id = b.cluster_id
where b.retry_at is not null
order by c.name, c.id;

-- name: wrong_accounts
-- Accounts that are not as they should be.
select coalesce(u.email, f.user_id) as who, f.details
from hopsworks.health_check_failures f left join hopsworks.users u on u.id = f.user_id
where f.resolved_at is null and f.check_name = 'account'
order by f.first_failed_at, f.id;

-- name: snapshot_counters
-- Disks whose counters are not those of their snapshots.
with there as (
  select disk_id, count(*) filter (where status = 'completed') as completed,
    count(*) filter (where status in ('pending', 'creating')) as pending
  from public.disk_snapshots group by disk_id
)
select d.disk_name, d.user_id, quote_literal(d.disk_id::text) as quoted,
  coalesce(d.snapshot_count, 0) as counted, coalesce(t.completed, 0) as completed,
  coalesce(d.pending_snapshot_count, 0) as counted_pending, coalesce(t.pending, 0) as pending
from public.disks d left join there t using (disk_id)
where coalesce(d.snapshot_count, 0) <> coalesce(t.completed, 0)
  or coalesce(d.pending_snapshot_count, 0) <> coalesce(t.pending, 0)
order by d.user_id, d.disk_name;

-- name: held_disks
-- Disks that nobody lets go. After the end of its reservation a disk is let go by the worker, at once; here it was never
-- asked to.
select d.disk_name, d.user_id, d.disk_id::text, d.reservation_id,
  extract(epoch from public.fleet_now() - coalesce(r.reservation_ended, r.status_since))::float8 / 3600 as hours
from public.disks d left join public.reservations r using (reservation_id)
where d.status = 'attached' and d.release_asked_at is null
  and (r.reservation_id is null or r.status in ('expired', 'cancelled', 'failed')
    and coalesce(r.reservation_ended, r.status_since) < public.fleet_now() - interval '1 hour')
order by d.user_id, d.disk_name;

-- name: slow_snapshots
-- Snapshots that are not completed after more than a day.
select d.disk_name, d.user_id, s.snapshot_id::text
from public.disk_snapshots s join public.disks d using (disk_id)
where s.status in ('pending', 'creating') and s.created_at < public.fleet_now() - interval '1 day'
order by s.created_at, s.snapshot_id;

-- name: quarantined
-- What AWS has and no row accounts for.
select resource_id from public.disk_quarantine where gone_at is null order by found_at, resource_id;

-- name: watched_machines
-- The machines that have a view of their forgotten rows (171).
select distinct m.machine
from public.moves m
where to_regclass(format('public.%I', 'forgotten_' || m.machine)) is not null
order by m.machine;

-- name: our_queues
-- The queues of this program; others may be in the same database.
select queue_name from public.fleet_queues;
