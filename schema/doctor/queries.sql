-- What `pgfleet doctor` looks at, in the order of its checks.

-- name: versions
-- Which they are of the server and of PGMQ; and whether there is a place for the name of the fleet.
select current_setting('server_version') as server, current_setting('server_version_num')::int / 10000 as major,
  to_regprocedure('pgmq.create(text)') is not null as has_pgmq,
  (select extversion from pg_extension where extname = 'pgmq') as pgmq,
  to_regclass('public.fleet_name') is not null as may_have_name;

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
-- secrets. Vacuum itself is no reason for vacuum to wait, nor is a transaction without a snapshot that has written nothing:
-- `pgfleet up` holds one, with a lock that keeps another `up` away. It is told where it keeps readers or writers away.
select case when backend_xmin is null and backend_xid is null then 'locks' else 'session' end as kind, pid,
  concat_ws(', ', usename, nullif(application_name, '')) as name, quote_literal(application_name) as quoted, state,
  extract(epoch from clock_timestamp() - xact_start)::float8 as age_s, age(backend_xmin) as age_xids
from pg_stat_activity a
where datname = current_database() and xact_start is not null and backend_type <> 'autovacuum worker'
  and pid <> pg_backend_pid() and leader_pid is distinct from pg_backend_pid()
  and (backend_xmin is not null or backend_xid is not null or exists (
    select from pg_locks l
    where l.pid = a.pid and l.locktype = 'relation' and l.granted
      and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')))
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
-- Integer keys that have used so much of their numbers. A sequence that a column owns and does not count by has others
-- in it (057).
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
  left join pg_attrdef ad on ad.adrelid = a.attrelid and ad.adnum = a.attnum
  where s.schemaname = any(:schemas::text[]) and not s.cycle and a.atttypid in ('int2'::regtype, 'int4'::regtype)
    and (d.deptype = 'i' or pg_get_expr(ad.adbin, ad.adrelid) like 'nextval(%')
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

-- name: stuck_reservations
-- Reservations that have ended and are not gone (180), oldest first.
select s.*, extract(epoch from public.fleet_now() - s.since)::float8 as ended_s
from public.stuck_reservations s
order by s.since, s.reservation_id;

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

-- name: placeless
-- Rows that have waited for long: that something outside refuses a place, for how much there is or by its rules; that no
-- scheduler looks at; that are not answered, although others are. Of a reservation all its waiting counts, as it goes
-- back to its line in between. What an open outage says itself is left out; rows of one that has just ended may not
-- have had their turn.
select w.*
from (
  select 'reservation' as what, r.reservation_id::text as id, r.current_detailed_status as shown,
    r.created_at as since
  from public.reservations r where r.status in ('pending', 'queued', 'preparing')
  union all
  select 'disk', d.disk_id::text, d.detail, d.status_since from public.disks d
  union all
  select 'snapshot', s.snapshot_id::text, s.failure_reason, s.status_since
  from public.disk_snapshots s where s.status in ('pending', 'creating')
  union all
  select 'user', a.user_id, a.detail, a.status_since
  from hopsworks.user_hopsworks_assignments a
  where a.status = 'creating_user'
    and a.hopsworks_cluster_id not in (select u.cluster_id from hopsworks.unanswered_clusters u)
) w
where split_part(w.shown, ':', 1) in (
    'QUOTA', 'KUBERNETES_REFUSES', 'CLUSTER_KEY_REFUSED', 'NO_SCHEDULER', 'SCHEDULING_GATED',
    'KUBERNETES_UNREACHABLE', 'SSH_KEYS_UNREACHABLE', 'AWS_UNREACHABLE')
  and w.since < public.fleet_now() - make_interval(secs => :placeless_s)
  and not exists (
    select from public.outages o
    where (o.ended_at is null or o.code like '%\_UNREACHABLE' and o.ended_at > public.fleet_now() - interval '2 minutes')
      and o.dependency not like 'hopsworks:%' and o.code = split_part(w.shown, ':', 1))
order by w.shown, w.since, w.id;

-- name: unanswered_clusters
-- Hopsworks clusters that are left alone, each with how many messages wait for it.
select u.cluster_id::text as id, u.name, u.kind, u.reason,
  extract(epoch from public.fleet_now() - u.began_at)::float8 as open_s,
  u.retry_at < public.fleet_now() - interval '60 seconds' as is_overdue,
  (select count(*) from pgmq.q_cluster_assignments q
   where q.headers #>> '{pgfleet,waits_for}' = 'hopsworks:' || u.cluster_id) as waiting
from hopsworks.unanswered_clusters u
order by u.name, u.cluster_id;

-- name: wrong_accounts
-- Accounts that are not as they should be.
select coalesce(u.email, f.user_id) as who, f.details
from hopsworks.health_check_failures f left join hopsworks.users u on u.id = f.user_id
where f.resolved_at is null and f.check_name = 'account'
order by f.first_failed_at, f.id;

-- name: split_teams
-- Teams whose members are on another cluster than the owner, where no setting let them.
select coalesce(o.email, s.owner_id) as owner, oc.name as owner_place, oc.status as owner_place_status,
  coalesce(oc.current_users, 0) as current_users, coalesce(oc.max_users, 0) as max_users,
  array_agg(coalesce(m.email, s.user_id) order by s.user_id) as who, array_agg(mc.name order by s.user_id) as places
from hopsworks.split_members s
join hopsworks.users o on o.id = s.owner_id
join hopsworks.users m on m.id = s.user_id
join hopsworks.hopsworks_clusters oc on oc.id = s.owner_cluster_id
join hopsworks.hopsworks_clusters mc on mc.id = s.cluster_id
group by 1, 2, 3, 4, 5, s.owner_id
order by 1;

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
  public.short_reservation_id(d.reservation_id) as reservation_short_id,
  extract(epoch from public.fleet_now() - coalesce(r.reservation_ended, r.status_since))::float8 / 3600 as hours
from public.disks d left join public.reservations r using (reservation_id)
where d.status = 'attached' and d.release_asked_at is null
  and (r.reservation_id is null or r.status in ('expired', 'cancelled', 'failed')
    and coalesce(r.reservation_ended, r.status_since) < public.fleet_now() - interval '1 hour')
order by d.user_id, d.disk_name;

-- name: slow_releases
-- Disks whose release was asked for more than an hour ago, and that say what they wait for other than a snapshot.
select d.disk_name, d.user_id, d.detail,
  extract(epoch from public.fleet_now() - d.release_asked_at)::float8 / 3600 as hours
from public.disks d
where d.status = 'attached' and d.release_asked_at < public.fleet_now() - interval '1 hour'
  and coalesce(d.pending_snapshot_count, 0) = 0 and d.detail is not null
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

-- name: unseen_nodes
-- The look at all nodes, where workers run (one of them has sent the sweep lately) and it is too old, or was in vain.
select extract(epoch from public.fleet_now() - l.seen_at)::float8 / 60 as minutes, l.problem
from public.gpu_looks l
where (l.seen_at < public.fleet_now() - interval '2 minutes'
    or l.seen_at is null and (l.problem is not null or l.next_at < public.fleet_now() - interval '2 minutes'))
  and exists (
    select from public.periodic p where p.name = 'reservation.sweep_pods' and p.next_at > public.fleet_now());

-- name: look_at_nodes
-- When nodes were last seen, and whether a reservation worker runs: one has sent the sweep lately.
select max(l.seen_at) as seen_at, exists (
    select from public.periodic p
    where p.name = 'reservation.sweep_pods' and p.next_at > public.fleet_now() - interval '1 minute') as goes_on
from public.gpu_looks l;

-- name: closed_nodes
-- Nodes that take no pod.
select n.node_name, n.gpu_type, n.problem from public.gpu_nodes n
where n.gone_at is null and n.problem is not null order by n.gpu_type, n.node_name;

-- name: refusing_nodes
-- Nodes that took pods of reservations in the last hour and gave them back before they ran, the worst ten.
select each ->> 'node' as node, count(*) as times, (array_agg(each ->> 'why' order by each ->> 'at' desc))[1] as why
from public.reservations r, jsonb_array_elements(r.refusals) each
where r.refusals <> '[]' and (each ->> 'at')::timestamptz > public.fleet_now() - interval '1 hour'
  and each ->> 'node' is not null
group by 1 order by 2 desc, 1 limit 10;

-- name: stray_pods
-- Pods in quarantine.
select q.pod_name, q.namespace, q.reason, q.gpus from public.pod_quarantine q
where q.gone_at is null order by q.found_at, q.pod_name;

-- name: watched_machines
-- The machines that have a view of their forgotten rows (171).
select distinct m.machine
from public.moves m
where to_regclass(format('public.%I', 'forgotten_' || m.machine)) is not null
order by m.machine;

-- name: skewed_nodes
-- Nodes whose clocks are off by so much that it is told, the farthest first.
select row_id, name, in_words from public.skewed_nodes order by abs(skew_s) desc, name, row_id;

-- name: held_sweeps
-- Sweeps that don't mark silent nodes offline, for a reason, and have not for longer than it takes to look twice.
select s.machine, s.silent, s.alive, s.held_back, s.held_back_since
from public.offline_sweeps s
where s.held_back is not null and s.held_back_since < public.fleet_now() - interval '1 minute' order by s.machine;

-- name: believed_sweeps
-- Nodes that were marked offline in the last day although their sweep was held back.
select s.machine, s.believed, s.believed_at, s.belief
from public.offline_sweeps s
where s.believed_at > public.fleet_now() - interval '1 day' order by s.machine;

-- name: consumed_queues
-- The queues of this program that nobody holds back; others may be in the same database.
select queue_name from public.fleet_queues where not public.is_paused(queue_name);
