-- 161: who may see and write which rows (documents 001 and 004), for databases that people and services share. Roles and
-- rights are there from the first migration on (162); rows are told apart only where row level security is on, which is
-- shipped switched off: `pgfleet migrate --rls` calls switch_row_level_security(true). The owner of the tables,
-- as whom migrations are made, sees and writes everything.
--
--   role                   sees                                              writes
--   pgfleet_worker_<kind>  what its machine needs, of every row              the same; its own queue
--   pgfleet_worker         what every worker needs                           the same
--   pgfleet_monitor        every row, no secret column                       nothing
--   pgfleet_user           own rows, and those of own team members; of       nothing; sends to the queues of
--                          everybody how many wait, and what is free         reservations and disks (105)
--   pgfleet_api            what pgfleet_user sees of the user it speaks for  the same; may speak for users (request_user)
--   pgfleet_serve          what pgfleet_user sees of the user it speaks for  the same; a member of pgfleet_api,
--                          (for DEVOPS and ADMIN every row), no secret       which it says the role of, too
--                          column; whether row level security is on or off
--   pgfleet_sender         nothing                                           nothing; sends for whom it names
--   pgfleet_node           nothing                                           nothing; sends heartbeats
--   pgfleet_migrator       everything: it owns tables and functions where   everything
--                          its members migrate, and functions run as it
--
-- They are roles without login: grant them to logins. A pgfleet_user's login is named as the user is (the Auth0 id in
-- hopsworks, the username in public). `schema/database/RIGHTS` lists what each may do.

-- For databases without Supabase's: what the printed policies ask for.
do $$
begin
  if to_regprocedure('auth.uid()') is null then
    create schema if not exists auth;
    create function auth.uid() returns text language sql stable as 'select public.request_user()';
  end if;
end
$$;

-- In which role whom `pgfleet serve` speaks for asks; null for every other login, whatever it claims. Called by may_see and
-- the policies.
create or replace function public.serving_role() returns text
language sql stable
as $$
  select case when pg_has_role(session_user, to_regrole('pgfleet_serve')::oid, 'member') then public.asking_role() end
$$;

-- Whether a row of this user may be seen by who asks: one's own (157), and one's team members'; whom `pgfleet serve` speaks
-- for as an operator sees all, and a node none. Called by the policies.
create or replace function public.may_see(of_user text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select case public.serving_role() when 'DEVOPS' then true when 'ADMIN' then true when 'NODE' then false
    else of_user = public.request_user() or exists (
      select from hopsworks.users u
      where u.id = of_user and (u.account_owner_id = public.request_user()
        or public.served() is not null and u.id in (select public.own_hopsworks_users())))
  end
$$;

revoke execute on function public.may_see(text) from public;

-- Every table of ours: schema, name, and the column that names the user whose row it is (null: nobody's). That column
-- is the one with the comment 'The user whose row it is'. Read by grant_fleet_roles and switch_row_level_security.
create or replace view public.guarded_tables as
select n.nspname as schema_name, c.relname as table_name, (
    select a.attname::text collate "default" from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and col_description(c.oid, a.attnum) = 'The user whose row it is'
    order by a.attnum limit 1
  ) as user_column
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and c.relkind in ('r', 'p')
  and not c.relispartition
  -- Not another program's tables beside ours.
  and exists (select from pg_class m where m.oid = 'public.schema_migrations'::regclass and m.relowner = c.relowner);

-- Every view of ours. Read by grant_fleet_roles.
create or replace view public.fleet_views as
select n.nspname as schema_name, c.relname as view_name
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and c.relkind = 'v'
  and exists (select from pg_class m where m.oid = 'public.schema_migrations'::regclass and m.relowner = c.relowner);

-- Whether nobody but a worker reads a column: keys, what people have in their homes, and messages and
-- configurations, which may hold keys. Called by grant_fleet_roles.
create or replace function public.is_secret(of_table text, column_name text) returns boolean
language sql immutable
as $$
  select column_name = any (
      '{api_key,kubeconfig,key_hash,api_key_hash,email_hash,hashed_password,jupyter_token,env_vars,stripe_customer_id,
        yaml_config,contents,command,body,chunk,asked_hash}')
    or of_table = 'dead_letters' and column_name in ('message', 'headers')
    or of_table = 'event_targets' and column_name in ('url', 'secret')
$$;
