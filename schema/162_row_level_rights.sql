-- 162: the roles, what each may do, and the switch of row level security. Rights are given by every migration, as far as
-- the roles are there: whoever migrates may not be allowed to make roles, and nothing breaks without them.

-- The kinds of workers: those that say what their worker may do (163). Read by fleet_roles and fleet_rights.
create or replace view public.fleet_kinds as
select substr(c.relname::text, 11) as kind
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind = 'v' and c.relname like 'rights\_of\_%' and c.relname <> 'rights_of_runtime';

-- Every role, and the role that it is a member of, if any. Read by lacking_roles and grant_fleet_roles.
create or replace view public.fleet_roles as
select 'pgfleet_' || name as role_name, null::text as member_of
from unnest('{sender,user,api,node,monitor,migrator,worker}'::text[]) name
union all
select 'pgfleet_serve', 'pgfleet_api'
union all
select 'pgfleet_worker_' || kind, 'pgfleet_worker' from public.fleet_kinds;

-- The statements that make what is not there yet of the roles. Read by create_fleet_roles, migrate and the doctor.
create or replace view public.lacking_roles as
select l.role_name, l.statement from (
  select 1 as step, role_name, format('create role %I nologin', role_name) as statement
  from public.fleet_roles where to_regrole(role_name) is null
  union all
  select 2, r.role_name, format('grant %I to %I', r.member_of, r.role_name)
  from public.fleet_roles r
  where r.member_of is not null and not exists (
    select from pg_auth_members m
    where m.member = to_regrole(r.role_name)::oid and m.roleid = to_regrole(r.member_of)::oid)
) l
order by l.step, length(l.role_name), l.role_name;

-- Makes the roles that are not there yet, as far as the caller may (CREATEROLE). Called by switch_row_level_security, and by
-- somebody who may where the one who migrates may not.
create or replace function public.create_fleet_roles() returns void
language plpgsql
as $$
declare
  lacking record;
begin
  for lacking in select statement from public.lacking_roles loop
    begin
      execute lacking.statement;
    exception
      -- Roles are the server's: another database may just have made it.
      when insufficient_privilege or duplicate_object or unique_violation or undefined_object then null;
    end;
  end loop;
end
$$;

-- Gives pgfleet_migrator what is ours, where a login or a superuser has migrated before: whatever the owner of our tables
-- has in our schemas, but for extensions, and nothing elsewhere (REASSIGN OWNED would take whole databases along). Called by
-- a superuser, or by that owner as a member of pgfleet_migrator: migrate says when.
create or replace function public.give_to_migrator() returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  of_before constant oid := (select relowner from pg_class where oid = 'public.schema_migrations'::regclass);
  schemas constant text[] := '{public,hopsworks,autoscaler,clusters,pgmq,auth}';
  thing text;
begin
  execute format('grant create on database %I to pgfleet_migrator', current_database());
  grant create on schema public to pgfleet_migrator;
  for thing in
    with things as (
      select 'schema ' || quote_ident(nspname) as name, 'pg_namespace'::regclass as catalog, oid, nspowner as owner,
        nspname as in_schema
      from pg_namespace
      union all
      select case relkind when 'v' then 'view ' when 'c' then 'type ' else 'table ' end || oid::regclass,
        'pg_class'::regclass, oid, relowner, relnamespace::regnamespace::name
      from pg_class where relkind in ('r', 'p', 'v', 'c')
      union all
      select 'type ' || oid::regtype, 'pg_type'::regclass, oid, typowner, typnamespace::regnamespace::name
      from pg_type where typtype in ('e', 'd')
      union all
      select 'routine ' || oid::regprocedure, 'pg_proc'::regclass, oid, proowner, pronamespace::regnamespace::name
      from pg_proc
    )
    select name from things t
    where owner = of_before and in_schema = any (schemas)
      and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = (t.catalog, t.oid, 'e'))
    -- Schemas first: in them the new owner has to be allowed to make things.
    order by catalog = 'pg_namespace'::regclass desc
  loop
    execute format('alter %s owner to pgfleet_migrator', thing);
  end loop;
end
$$;

-- The condition on a row of this table for a user to see it; null where users see none. Called by grant_fleet_roles and
-- switch_row_level_security.
create or replace function public.own_rows(of_table text, user_column text) returns text
language sql immutable
as $$
  select case
    when user_column is not null then format('public.may_see(%I)', user_column)
    when of_table in ('gpu_types', 'billing_rates', 'pauses', 'node_cordons', 'limits', 'line_settings', 'fleet_name') then 'true'
    when of_table = 'policies' then
      'case applies_to when ''user'' then subject = public.request_user()
         when ''team'' then subject = public.team_of(public.request_user()) else true end'
    -- Not their team's: a message has the command and the variables, which the row's own reader never sees either.
    when of_table = 'dead_letters' then 'message ->> ''user_id'' = public.request_user()'
    when of_table in ('gpu_use', 'pod_events') then
      format('exists (select from public.reservations r where r.reservation_id = %I.reservation_id)', of_table)
    when of_table = 'disk_snapshots' then
      'exists (select from public.disks d where d.disk_id = disk_snapshots.disk_id)'
    -- Of the clusters, the one that the user is on.
    when of_table = 'hopsworks_clusters' then
      'exists (select from hopsworks.user_hopsworks_assignments a where a.hopsworks_cluster_id = hopsworks_clusters.id)'
    when of_table = 'status_history' then
      'case machine
         when ''reservation'' then exists (select from public.reservations r where r.reservation_id = row_id)
         when ''disk'' then exists (select from public.disks d where d.disk_id = row_id::uuid)
         when ''assignment'' then exists (
           select from hopsworks.user_hopsworks_assignments a where a.id = row_id::uuid)
         when ''dead_letter'' then exists (select from public.dead_letters d where d.dead_letter_id = status_history.row_id::bigint)
         else false
       end'
  end
$$;

-- Those of the roles that are there, as GRANT has them; null where none is. Called by grant_fleet_roles.
create or replace function public.roles_there(wanted text[]) returns text
language sql stable
as $$ select string_agg(quote_ident(r), ', ') from unnest(wanted) r where to_regrole(r) is not null $$;

-- Gives the roles that are there what they need (given_rights, 196), and nothing that they had before and do not need. Called
-- by migrate, after whatever it made and where one of these rights is gone, and by switch_row_level_security.
create or replace function public.grant_fleet_roles() returns void
language plpgsql
set client_min_messages = warning
as $$
declare
  -- But for the owner, whose rights these are: pgfleet_migrator, where it is.
  everybody constant text := public.roles_there(array(
    select role_name from public.fleet_roles
    where to_regrole(role_name)::oid is distinct from (
      select relowner from pg_class where oid = 'public.schema_migrations'::regclass)));
  t record;
begin
  -- PostgreSQL 14 lets everybody make things in public.
  for t in
    select nspname as name from pg_namespace
    where nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and pg_has_role(nspowner, 'usage')
  loop
    execute format('revoke create on schema %I from public', t.name);
  end loop;
  if everybody is null then
    return;
  end if;
  execute format('revoke usage on schema hopsworks, autoscaler, clusters from %s', everybody);
  for t in
    select format('%I.%I', schema_name, table_name) as name from public.guarded_tables
    union all select format('%I.%I', schema_name, view_name) from public.fleet_views
    union all
    select format('pgmq.%I', prefix || queue_name) from public.fleet_queues, unnest('{q_,a_}'::text[]) prefix
    union all select 'pgmq.meta'
    union all select 'function ' || oid::regprocedure from public.closed_functions
    union all select 'sequence ' || name from public.fleet_sequences
  loop
    execute format('revoke all on %s from %s', t.name, everybody);
  end loop;
  -- A file that is applied alone comes before others whose things are not there yet.
  for t in
    select * from public.given_rights() where to_regrole(role_name) is not null and public.is_there(thing) order by 1, 2, 3
  loop
    execute format('grant %s on %s to %I', t.may, t.thing, t.role_name);
  end loop;
end
$$;

-- Functions of ours that are not for everybody to call. Read by grant_fleet_roles.
create or replace view public.closed_functions as
select p.oid
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prosecdef and n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters')
  and p.prorettype <> 'trigger'::regtype
  and exists (
    select from pg_class m where m.oid = 'public.schema_migrations'::regclass and m.relowner = p.proowner);

-- The sequences of our tables and queues. Read by grant_fleet_roles and given_rights.
create or replace view public.fleet_sequences as
select d.objid::regclass::text as name, n.nspname || '.' || c.relname as of_table
from pg_depend d
join pg_class s on s.oid = d.objid and s.relkind = 'S'
join pg_class c on c.oid = d.refobjid
join pg_namespace n on n.oid = c.relnamespace
where d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i') and (
  (n.nspname, c.relname) in (select schema_name, table_name from public.guarded_tables)
  or n.nspname = 'pgmq' and c.relname in (select 'q_' || queue_name from public.fleet_queues));

-- Switches row level security on for every table of ours, with its policies, or off. Safe to call again. Called by
-- `pgfleet migrate --rls`, and by every migration while it is on.
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
    if exists (
      select from unnest('{pgfleet_worker,pgfleet_monitor,pgfleet_user,pgfleet_api}'::text[]) r where to_regrole(r) is null)
    then
      raise exception 'row level security needs roles that are not there: %',
          (select string_agg(role_name, ', ') from public.lacking_roles where to_regrole(role_name) is null)
        using errcode = 'insufficient_privilege';
    end if;
  end if;
  for t in select * from public.guarded_tables loop
    execute format('alter table %I.%I %s row level security', t.schema_name, t.table_name,
      case when switch_on then 'enable' else 'disable' end);
    foreach policy in array '{pgfleet_worker_all,pgfleet_monitor_all,pgfleet_asked_by_operators,pgfleet_own_rows}'::text[] loop
      execute format('drop policy if exists %I on %I.%I', policy, t.schema_name, t.table_name);
    end loop;
    continue when not switch_on;
    execute format('create policy pgfleet_worker_all on %I.%I to pgfleet_worker using (true) with check (true)',
      t.schema_name, t.table_name);
    execute format('create policy pgfleet_monitor_all on %I.%I for select to pgfleet_monitor using (true)',
      t.schema_name, t.table_name);
    -- Asked once a query. Where nobody may make that role, nobody serves.
    if to_regrole('pgfleet_serve') is not null then
      execute format('create policy pgfleet_asked_by_operators on %I.%I for select to pgfleet_serve
          using ((select public.serving_role() in (''DEVOPS'', ''ADMIN'')))',
        t.schema_name, t.table_name);
    end if;
    if public.own_rows(t.table_name, t.user_column) is not null then
      execute format('create policy pgfleet_own_rows on %I.%I for select to pgfleet_user, pgfleet_api using (%s)',
        t.schema_name, t.table_name, public.own_rows(t.table_name, t.user_column));
    end if;
  end loop;
  perform public.grant_fleet_roles();
end
$$;
