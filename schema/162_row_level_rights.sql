-- 162: the roles of 161, what each may do, and the switch.

-- Makes the roles that are not there yet. Needs CREATEROLE for that. Called by switch_row_level_security, and by
-- somebody who may where the one who migrates may not.
create or replace function public.create_fleet_roles() returns void
language plpgsql
as $$
declare
  role_name text;
begin
  foreach role_name in array '{pgfleet_worker,pgfleet_monitor,pgfleet_user,pgfleet_api}'::text[] loop
    if not exists (select from pg_roles where rolname = role_name) then
      execute format('create role %I nologin', role_name);
    end if;
  end loop;
end
$$;

-- Gives the roles what they need on every table, view and queue that there is now. Called by switch_row_level_security,
-- and so again after each migration.
create or replace function public.grant_fleet_roles() returns void
language plpgsql
as $$
declare
  t record;
  columns text;
begin
  grant usage on schema public, hopsworks, autoscaler, clusters, pgmq to pgfleet_worker, pgfleet_monitor;
  grant usage on schema public, hopsworks, autoscaler, clusters to pgfleet_user, pgfleet_api;
  for t in
    select format('%I.%I', schema_name, table_name) as name, table_name from public.guarded_tables
    union all
    select format('pgmq.%I', prefix || queue_name), 'queue'
    from public.fleet_queues, unnest('{q_,a_}'::text[]) prefix
    union all
    select format('%I.%I', schema_name, view_name), 'view' from public.fleet_views
    union all
    select 'pgmq.meta', 'queues'
  loop
    execute format('revoke all on %s from pgfleet_worker, pgfleet_monitor, pgfleet_user, pgfleet_api', t.name);
    if t.table_name not in ('api_users', 'api_keys') and t.name <> 'autoscaler.users' then
      execute format('grant select on %s to pgfleet_worker', t.name);
    end if;
  end loop;
  for t in
    select s.oid::regclass as name from pg_class s
    join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i')
    join pg_class c on c.oid = d.refobjid
    join pg_namespace n on n.oid = c.relnamespace
    where s.relkind = 'S' and (
      (n.nspname, c.relname) in (select schema_name, table_name from public.guarded_tables)
      or n.nspname = 'pgmq' and c.relname = any (array(select 'q_' || queue_name from public.fleet_queues)))
  loop
    execute format('grant usage on sequence %s to pgfleet_worker', t.name);
  end loop;
  for t in
    select format('%I.%I', schema_name, table_name) as name, table_name from public.guarded_tables
    where table_name not in (
      'schema_migrations', 'moves', 'retention', 'api_users', 'api_keys', 'billing_rates', 'cluster_config_templates')
      and (schema_name, table_name) not in (('autoscaler', 'users'))
  loop
    -- Logs are added to, never rewritten.
    execute format('grant insert%s on %s to pgfleet_worker',
      case when t.table_name in ('status_history', 'audit_logs', 'node_lifecycle_logs', 'cluster_events',
        'node_heartbeats', 'metrics', 'pool_analytics', 'cluster_metrics') then '' else ', update' end, t.name);
  end loop;
  grant delete on public.domain_mappings, public.alb_target_groups to pgfleet_worker;
  for t in select queue_name from public.fleet_queues loop
    execute format('grant insert, update, delete on pgmq.%I to pgfleet_worker', 'q_' || t.queue_name);
    execute format('grant insert on pgmq.%I to pgfleet_worker', 'a_' || t.queue_name);
  end loop;
  -- Who writes by hand (audit_write).
  grant select (id, email, role) on autoscaler.users to pgfleet_worker;

  for t in
    select * from public.guarded_tables
    union all
    select schema_name, view_name, null from public.fleet_views
  loop
    select string_agg(quote_ident(attname), ', ' order by attnum) into columns
    from pg_attribute
    where attrelid = format('%I.%I', t.schema_name, t.table_name)::regclass and attnum > 0 and not attisdropped
      and not public.is_secret(t.table_name, attname);
    execute format('grant select (%s) on %I.%I to pgfleet_monitor', columns, t.schema_name, t.table_name);
    if t.user_column is not null then
      execute format('grant select (%s) on %I.%I to pgfleet_user, pgfleet_api', columns, t.schema_name, t.table_name);
    end if;
  end loop;
  -- Functions that may more than their caller.
  for t in
    select p.oid::regprocedure as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prosecdef and n.nspname in ('public', 'autoscaler', 'clusters')
  loop
    execute format('grant execute on function %s to pgfleet_worker', t.name);
  end loop;
  grant execute on function clusters.note_read(text, text) to pgfleet_monitor;
  grant select on pgmq.meta to pgfleet_monitor;
  grant select (id, name, status, api_url) on hopsworks.hopsworks_clusters to pgfleet_user, pgfleet_api;
end
$$;

-- On: makes the roles, their rights and the policies, and switches row level security on for every table of ours.
-- Off: switches it off, and users lose their rights; roles stay, and what workers and monitors may do. Safe to call
-- again. Called by `pgfleet migrate --rls`, and by every migration while it is on.
create or replace function public.switch_row_level_security(switch_on boolean) returns void
language plpgsql
set client_min_messages = warning
as $$
declare
  t record;
  policy text;
begin
  if switch_on then
    perform public.create_fleet_roles();
    perform public.grant_fleet_roles();
  elsif exists (select from pg_roles where rolname = 'pgfleet_user') then
    -- Without policies, a right to read is a right to read everybody's rows.
    for t in select * from public.guarded_tables loop
      execute format('revoke all on %I.%I from pgfleet_user, pgfleet_api', t.schema_name, t.table_name);
    end loop;
  end if;
  for t in select * from public.guarded_tables loop
    execute format('alter table %I.%I %s row level security', t.schema_name, t.table_name,
      case when switch_on then 'enable' else 'disable' end);
    foreach policy in array '{pgfleet_worker_all,pgfleet_monitor_all,pgfleet_own_rows}'::text[] loop
      execute format('drop policy if exists %I on %I.%I', policy, t.schema_name, t.table_name);
    end loop;
    continue when not switch_on;
    execute format('create policy pgfleet_worker_all on %I.%I to pgfleet_worker using (true) with check (true)',
      t.schema_name, t.table_name);
    execute format('create policy pgfleet_monitor_all on %I.%I for select to pgfleet_monitor using (true)',
      t.schema_name, t.table_name);
    if t.user_column is not null then
      execute format('create policy pgfleet_own_rows on %I.%I for select to pgfleet_user, pgfleet_api
        using (public.may_see(%I))', t.schema_name, t.table_name, t.user_column);
    elsif t.table_name = 'hopsworks_clusters' then
      -- Of the clusters, the one that the user is on.
      execute format('create policy pgfleet_own_rows on %I.%I for select to pgfleet_user, pgfleet_api
        using (exists (
          select from hopsworks.user_hopsworks_assignments a where a.hopsworks_cluster_id = hopsworks_clusters.id))',
        t.schema_name, t.table_name);
    end if;
  end loop;
end
$$;
