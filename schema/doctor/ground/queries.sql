-- What `pgfleet doctor` looks at of the server and of what rows stand on.

-- name: server
-- How the server is now, and what every new session of this database gets.
select pg_is_in_recovery() as is_standby,
  (select reset_val from pg_settings where name = 'default_transaction_read_only') as read_only,
  (select reset_val from pg_settings where name = 'session_replication_role') as triggers_for,
  (select reset_val from pg_settings where name = 'autovacuum') as autovacuum,
  (select reset_val from pg_settings where name = 'track_counts') as track_counts,
  (select count(*) from pg_stat_activity where backend_type = 'client backend') as sessions,
  current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer as most,
  quote_ident(current_database()) as database,
  (select age(datfrozenxid) from pg_database where datname = current_database()) as xids,
  (select to_jsonb(d) ->> 'datcollversion' from pg_database d where datname = current_database()) as collation;

-- name: actual_collation
-- The version of the collation that the operating system has. From PostgreSQL 15 on.
select pg_database_collation_actual_version(oid) as version from pg_database where datname = current_database();

-- name: never_vacuumed
-- Tables of ours that somebody has exempted from autovacuum.
select n.nspname || '.' || c.relname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace, unnest(c.reloptions) option
where n.nspname = any(:schemas::text[]) and c.relkind = 'r'
  and option in ('autovacuum_enabled=false', 'autovacuum_enabled=off', 'autovacuum_enabled=0', 'autovacuum_enabled=no')
order by 1;

-- name: holding_slots
-- Slots that nobody reads and that keep write-ahead log, until the disk is full.
select slot_name, quote_literal(slot_name) as quoted,
  pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn)
    / 1024 / 1024 as megabytes
from pg_replication_slots
where not active and restart_lsn is not null
order by slot_name;

-- name: numbered_columns
-- Columns whose numbers a sequence gives out.
select tn.nspname as schema_name, t.relname as table_name, a.attname as column_name,
  s.schemaname as sequence_schema, s.sequencename as sequence_name, coalesce(s.last_value, 0) as last_value,
  has_sequence_privilege(c.oid, 'select, usage') as may_read
from pg_sequences s
join pg_namespace sn on sn.nspname = s.schemaname
join pg_class c on c.relnamespace = sn.oid and c.relname = s.sequencename
join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
  and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
join pg_class t on t.oid = d.refobjid
join pg_namespace tn on tn.oid = t.relnamespace
where s.schemaname = any(:schemas::text[]) and not s.cycle
  -- Not what only keeps a number, as the timeline of the feed.
  and (a.attidentity <> '' or exists (
    select from pg_attrdef f
    where f.adrelid = t.oid and f.adnum = a.attnum and pg_get_expr(f.adbin, f.adrelid) like 'nextval(%'))
  -- A node may lock the queue of its answers.
  and t.relname not like 'q\_node\_replies\_%'
  -- The greatest is found by an index, or there are few.
  and (exists (select from pg_index i where i.indrelid = t.oid and i.indkey[0] = a.attnum) or t.reltuples < 100000)
order by 1, 2, 3;

-- name: references
-- Foreign keys, each as the condition of a join. Not of tables that are so large that a look takes minutes.
select format('%I.%I', n.nspname, c.relname) as child,
  (select format('%I.%I', pn.nspname, pc.relname) from pg_class pc join pg_namespace pn on pn.oid = pc.relnamespace
   where pc.oid = k.confrelid) as parent, k.conname as name,
  (select string_agg(format('p.%I = c.%I', pa.attname, ca.attname), ' and ')
   from unnest(k.conkey, k.confkey) pair (child_number, parent_number)
   join pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = child_number
   join pg_attribute pa on pa.attrelid = k.confrelid and pa.attnum = parent_number) as joined,
  (select string_agg(format('c.%I is not null', ca.attname), ' and ')
   from unnest(k.conkey) number join pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = number) as filled
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and k.conparentid = 0 and n.nspname = any(:schemas::text[]) and c.reltuples < 1000000
order by 1, 3;

-- name: daily_tables
-- Tables that are partitioned by day, with whether tomorrow has its partition. One that is detached is none.
select r.table_name, r.time_column, to_regclass(r.table_name || '_default') is not null as has_default,
  exists (select from pg_inherits i where i.inhparent = to_regclass(r.table_name)
    and i.inhrelid = to_regclass(r.table_name || '_default')) as takes_all,
  exists (select from pg_inherits i where i.inhparent = to_regclass(r.table_name) and i.inhrelid
    = to_regclass(public.day_partition(r.table_name, ((public.fleet_now() at time zone 'UTC')::date + 1))))
    as has_tomorrow,
  exists (select from pg_inherits i where i.inhparent = to_regclass(r.table_name)
    and i.inhrelid::regclass::text ~ '_p\d{8}$') as has_days
from public.retention r where r.by_day order by r.table_name;

-- name: filling_columns
-- Columns that are not ours and that nobody who does not know them can fill: every insert fails.
select n.nspname || '.' || c.relname as table_name, quote_ident(a.attname) as column_name,
  n.nspname || '.' || c.relname || '.' || a.attname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname || '.' || c.relname = any(:tables::text[]) and a.attnotnull and not a.atthasdef and a.attidentity = ''
order by 1, 2;

-- name: strangers
-- Tables, views and functions of ours that belong to somebody other than who migrates.
select thing from (
  select c.relowner as owner, n.nspname || '.' || c.relname as thing
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname || '.' || c.relname = any(:names::text[]) and c.relkind in ('r', 'p', 'v')
  union all
  select p.proowner, n.nspname || '.' || p.proname
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname || '.' || p.proname = any(:names::text[]) and n.nspname <> 'pgmq'
) t
where owner <> (select relowner from pg_class where oid = 'public.schema_migrations'::regclass)
order by 1;

-- name: unguarded_tables
-- Where row level security is on for some tables: those that it is off for, or whose policies are gone.
with guarded as (
  select g.*, c.relrowsecurity as is_on, exists (select from pg_policy p where p.polrelid = c.oid) as has_policy
  from public.guarded_tables g
  join pg_namespace n on n.nspname = g.schema_name
  join pg_class c on c.relnamespace = n.oid and c.relname = g.table_name
)
select schema_name || '.' || table_name as name from guarded
where (not is_on or not has_policy) and exists (select from guarded where is_on)
order by 1;

-- name: lacking_roles
-- Roles that are not there, or not members of each other, with what makes them.
select role_name, statement from public.lacking_roles;

-- name: able_roles
-- Roles of ours that may what no role of ours is made with, and what makes them as they were.
select r.rolname as role_name, string_agg(a.able, ', ') as able,
  format('alter role %I %s', r.rolname, string_agg('no' || a.able, ' ')) as statement
from public.fleet_roles f
join pg_roles r on r.rolname = f.role_name
cross join lateral (values ('superuser', rolsuper), ('bypassrls', rolbypassrls), ('createrole', rolcreaterole),
  ('createdb', rolcreatedb), ('replication', rolreplication), ('login', rolcanlogin)) a (able, it_is)
where a.it_is
group by r.rolname order by r.rolname;

-- name: strange_members
-- Roles of ours that were let into others than the one that they are made in; to watch a server harms nothing.
select r.rolname as role_name, g.rolname as group_name, format('revoke %I from %I', g.rolname, r.rolname) as statement
from public.fleet_roles f
join pg_roles r on r.rolname = f.role_name
join pg_auth_members m on m.member = r.oid
join pg_roles g on g.oid = m.roleid
where g.rolname is distinct from f.member_of
  and g.rolname not in ('pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats', 'pg_stat_scan_tables')
  -- Whose all of it is may let itself in.
  and r.oid <> (select relowner from pg_class where oid = 'public.schema_migrations'::regclass)
order by 1, 2;

-- name: strange_policies
-- Where row level security is on: policies of others, which let see what ours don't.
select format('%I.%I', g.schema_name, g.table_name) as table_name, p.polname as name,
  format('drop policy %I on %I.%I', p.polname, g.schema_name, g.table_name) as statement
from public.guarded_tables g
join pg_namespace n on n.nspname = g.schema_name
join pg_class c on c.relnamespace = n.oid and c.relname = g.table_name and c.relrowsecurity
join pg_policy p on p.polrelid = c.oid and p.polpermissive
where p.polname not in ('pgfleet_worker_all', 'pgfleet_monitor_all', 'pgfleet_asked_by_operators', 'pgfleet_own_rows')
order by 1, 2;
