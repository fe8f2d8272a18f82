-- 196: all that our roles are given, in one list, and what of it is not there any more: somebody took it back, or a table was
-- made anew by hand. grant_fleet_roles (162) gives what is listed.

-- Whether a thing is there, in the words of a GRANT: `function public.keep_house()`, `schema pgmq`, `public.disks`.
create or replace function public.is_there(thing text) returns boolean
language sql stable
as $$
  select coalesce(
    case
      when thing like 'function %' then to_regprocedure(substr(thing, 10))::oid
      when thing like 'schema %' then to_regnamespace(substr(thing, 8))::oid
      when thing like 'sequence %' then to_regclass(substr(thing, 10))::oid
      else to_regclass(thing)::oid
    end, 0) <> 0
$$;

-- What monitoring sees: every column but secrets. And what users and the API do, where row level security is on: rows of their
-- own. Without its policies, a right to read would be one to read everybody's. Called by given_rights.
create or replace function public.rights_to_read() returns table (role_name text, thing text, may text)
language sql stable
as $$
  with listed as (
    -- Of single columns of a hypertable TimescaleDB takes no grant, once it compresses them.
    select t.*, case when public.is_hypertable(format('%I.%I', t.schema_name, t.table_name)) then 'select'
      else format('select (%s)', string_agg(quote_ident(a.attname), ', ' order by a.attnum)) end as may
    from (
      select schema_name, table_name, user_column, true as is_table from public.guarded_tables
      union all select schema_name, view_name, null, false from public.fleet_views
    ) t
    join pg_attribute a on a.attrelid = format('%I.%I', t.schema_name, t.table_name)::regclass
    where a.attnum > 0 and not a.attisdropped and not public.is_secret(t.table_name, a.attname)
    group by t.schema_name, t.table_name, t.user_column, t.is_table
  )
  select 'pgfleet_monitor', format('%I.%I', schema_name, table_name), may from listed
  union all
  select r, format('%I.%I', schema_name, table_name), may from listed, unnest('{pgfleet_user,pgfleet_api}'::text[]) r
  where (select relrowsecurity from pg_class where oid = 'public.reservations'::regclass)
    and public.own_rows(table_name, user_column) is not null and table_name <> 'hopsworks_clusters'
  union all
  -- What they see of everybody's: numbers and ids, no names. And what they have sent, and what it became.
  select r, v.thing, v.may
  from unnest('{pgfleet_user,pgfleet_api}'::text[]) r, (values
    ('public.gpu_rooms', 'select'),
    ('public.gpu_ends', 'select'),
    ('public.line_paces', 'select'),
    ('public.booked_units', 'select'),
    ('public.line_settings', 'select'),
    ('function public.fronts_of_lines(text[], integer)', 'execute'),
    ('function public.ahead_in_line(text)', 'execute'),
    ('public.waiting_reservations', 'select (gpu_type)'),
    ('public.stuck_reservations', 'select (reservation_id)'),
    ('public.dead_letters', 'select (message)'),
    ('hopsworks.hopsworks_clusters', 'select (id, name, status, api_url)'),
    ('function public.may_see(text)', 'execute'),
    ('function public.team_of(text)', 'execute'),
    ('function public.limits_seen(text)', 'execute')) v (thing, may)
  where (select relrowsecurity from pg_class where oid = 'public.reservations'::regclass)
$$;

-- All that our roles are given, but for the owner, whose rights these are. Called by grant_fleet_roles and lacking_rights.
create or replace function public.given_rights() returns table (role_name text, thing text, may text)
language sql stable
as $$
  with listed as (
    select * from public.fleet_rights()
    union all
    select * from public.rights_to_read()
    union all
    select 'pgfleet_serve', thing, 'execute' from public.identity_rights
    union all
    values ('pgfleet_monitor', 'function clusters.note_read(text, text)', 'execute'),
      ('pgfleet_monitor', 'function public.fronts_of_lines(text[], integer)', 'execute'),
      ('pgfleet_monitor', 'function public.ahead_in_line(text)', 'execute'),
      ('pgfleet_monitor', 'function public.messages_about(text, text, text)', 'execute'),
      ('pgfleet_monitor', 'function public.letters_about(text, text)', 'execute'),
      ('pgfleet_monitor', 'pgmq.meta', 'select'),
      ('pgfleet_monitor', 'function public.feed_end()', 'execute'),
      ('pgfleet_monitor', 'function public.feed_held()', 'execute'),
      ('pgfleet_monitor', 'function public.queue_counts(text, integer)', 'execute'),
      ('pgfleet_monitor', 'function public.fleet_figures(integer)', 'execute'),
      ('pgfleet_monitor', 'function public.open_letters(integer)', 'execute')
    union all
    -- The API sees the feed whole, and shows each principal what is theirs.
    select 'pgfleet_api', 'function public.' || f, 'execute'
    from unnest(array[
      'events_since(integer, xid8, bigint, integer, text[], text[], text, text, integer, xid8, bigint)',
      'feed_end()', 'feed_held()', 'last_move(text, text)', 'note_timeline()']) f
    union all
    select r.role_name, 'schema ' || s, 'usage'
    from public.fleet_roles r, unnest('{public,pgmq,hopsworks,autoscaler,clusters}'::text[]) s
    where s in ('public', 'pgmq') or r.role_name !~ '_(sender|node|migrator)$'
  ), given as materialized (
    -- Before anything is asked of a name: in some schemas of PostgreSQL's own nobody may look.
    select * from listed
    union
    -- Whoever serves reads what monitoring reads, of all queues how much waits, and what its users ask.
    select 'pgfleet_serve', l.thing, l.may from listed l where l.role_name = 'pgfleet_monitor'
    union
    select 'pgfleet_serve', 'pgmq.q_' || q.queue_name, 'select (msg_id, read_ct, enqueued_at, vt)' from public.fleet_queues q
    union
    select 'pgfleet_serve', 'function public.' || f, 'execute'
    from unnest(array[
      'may_see(text)', 'team_of(text)', 'limits_seen(text)', 'own_hopsworks_users()', 'answer_letter(bigint, text, text)',
      'letter_shown(bigint)',
      'put_policy(text, text, text, text, double precision, text[], text)', 'remove_policy(text, text, text, text)',
      'begin_pause(text, text, text)', 'end_pause(text)', 'take_figures(text, integer)', 'keep_figures()']) f
    union all
    select 'pgfleet_serve', 'function hopsworks.' || f, 'execute' from unnest(array['close_to_users(uuid)', 'open_to_users(uuid)']) f
    union
    select l.role_name, 'sequence ' || s.name, 'usage'
    from listed l join public.fleet_sequences s on s.of_table = l.thing
    where l.may ~ 'insert'
  )
  select * from given
  where to_regrole(given.role_name)::oid is distinct from (
    select relowner from pg_class where oid = 'public.schema_migrations'::regclass)
$$;

-- Which of these rights are not there, in the words of a GRANT; with a login, which it has not that its role should have. A
-- column that is not there is told by its name elsewhere. Called by migrate, by the doctor and at a worker's start.
create or replace function public.lacking_rights(login text default null)
returns table (role_name text, thing text, may text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select g.role_name, g.thing, string_agg(
    l.right_to || coalesce(' (' || lacking.columns || ')', ''), ', ' order by l.right_to)
  from public.given_rights() g
  cross join lateral regexp_matches(g.may, '(\w+)(?: *\(([^)]*)\))?', 'g') m
  cross join lateral (
    select m[1] as right_to, regexp_split_to_array(m[2], '\s*,\s*') as columns,
      coalesce(login, g.role_name)::name as holder, split_part(g.thing, ' ', 1) as kind, regexp_replace(g.thing, '^(function|schema|sequence) ', '') as name
  ) l
  cross join lateral (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
    from pg_attribute a
    where l.columns is not null and a.attrelid = to_regclass(l.name) and a.attnum > 0 and not a.attisdropped
      and quote_ident(a.attname) = any (l.columns) and not has_column_privilege(l.holder, a.attrelid, a.attnum, l.right_to)
  ) lacking
  where to_regrole(g.role_name) is not null and public.is_there(g.thing) and case
      when l.columns is not null then lacking.columns is not null
      when l.kind = 'function' then not has_function_privilege(l.holder, to_regprocedure(l.name)::oid, l.right_to)
      when l.kind = 'schema' then not has_schema_privilege(l.holder, l.name, l.right_to)
      when l.kind = 'sequence' then not has_sequence_privilege(l.holder, to_regclass(l.name)::oid, l.right_to)
      else not has_table_privilege(l.holder, to_regclass(l.name)::oid, l.right_to)
    end
  group by g.role_name, g.thing
$$;
revoke execute on function public.lacking_rights(text) from public;
