-- 194: telemetry in hypertables of TimescaleDB, where the server has it: `pgfleet migrate --telemetry=timescaledb`. A day is
-- a chunk there, and the extension's own jobs compress those that are over. Its names of types, keys, indexes and columns
-- are those of the table by days, so whoever reads or writes it notices nothing.

-- The tables that may be one. Called by is_hypertable and put_telemetry.
create or replace function public.telemetry_tables() returns text[]
language sql immutable
as $$
  select '{autoscaler.node_heartbeats,autoscaler.metrics,autoscaler.pool_analytics,clusters.cluster_metrics}'::text[]
$$;

-- Whether a table is one. Called by put_telemetry, keep_days (103) and rights_to_read (196).
create or replace function public.is_hypertable(of_table text) returns boolean
language plpgsql stable
as $$
declare
  found boolean := false;
begin
  if of_table = any (public.telemetry_tables()) and public.timescaledb_schema() is not null then
    execute 'select exists (
      select from _timescaledb_catalog.hypertable where format(''%I.%I'', schema_name, table_name) = $1)'
    into found using of_table;
  end if;
  return found;
end
$$;

-- Where the extension's functions are, which is where it was made. Called by put_into_chunks and drop_chunks_before.
create or replace function public.timescaledb_schema() returns text
language sql stable
as $$
  select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
  where e.extname = 'timescaledb'
$$;

-- Drops the chunks of the days before this one. Called by keep_days.
create or replace function public.drop_chunks_before(of_table text, time_column text, day date) returns void
language plpgsql
as $$
begin
  execute format(
    'select count(*) from %s.drop_chunks(%L::regclass, older_than => %L::%s)', public.timescaledb_schema(), of_table,
    to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00',
    (select format_type(atttypid, atttypmod) from pg_attribute
     where attrelid = of_table::regclass and attname = time_column));
end
$$;

-- Gives a table and its indexes other names, so that another can take its place. Returns what makes the keys and indexes
-- of that one, and gives it the sequences. Called by put_into_chunks and put_into_days.
create or replace function public.set_aside(of_table text) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  name constant text[] := parse_ident(of_table);
  made text[];
  each text;
begin
  execute format('lock table %s in access exclusive mode', of_table);
  select array_agg(statement order by place, statement) into made
  from (
    select 1 as place, format('alter table %s add constraint %I %s', of_table, conname, pg_get_constraintdef(oid)) as statement
    from pg_constraint where conrelid = of_table::regclass and contype in ('p', 'u', 'f', 'c')
    union all
    select 2, replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
    from pg_index i where i.indrelid = of_table::regclass
      and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.conrelid = i.indrelid)
    union all
    select 3, format('alter sequence %s owned by %s.%I', pg_get_serial_sequence(of_table, attname), of_table, attname)
    from pg_attribute where attrelid = of_table::regclass and attnum > 0 and not attisdropped
      and pg_get_serial_sequence(of_table, attname) is not null
  ) s;
  for each in
    select format('alter index %I.%I rename to %I', n.nspname, c.relname, c.relname || '_before')
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
    where i.indrelid = of_table::regclass
  loop
    execute each;
  end loop;
  execute format('alter table %s rename to %I', of_table, name[2] || '_before');
  return made;
end
$$;

-- Puts all rows of a table by days into a hypertable in its place, whose chunks are compressed once they are a day old: the
-- rows of one `segment_by` lie together. Called by put_telemetry.
create or replace function public.put_into_chunks(of_table text, time_column text, segment_by text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  before constant text := of_table || '_before';
  engine constant text := public.timescaledb_schema();
  each text;
  made constant text[] := public.set_aside(of_table);
begin
  execute format('create table %s (like %s including defaults including comments)', of_table, before);
  foreach each in array made loop
    execute each;
  end loop;
  execute format(
    'select %1$s.create_hypertable(%2$L::regclass, %1$s.by_range(%3$L, interval ''1 day''), create_default_indexes => false)',
    engine, of_table, time_column);
  execute format(
    'alter table %s set (timescaledb.compress, timescaledb.compress_segmentby = %L, timescaledb.compress_orderby = %L)',
    of_table, quote_ident(segment_by), quote_ident(time_column));
  execute format('insert into %s select * from %s', of_table, before);
  execute format('drop table %s', before);
  execute format('select %s.add_compression_policy(%L::regclass, compress_after => interval ''1 day'')', engine, of_table);
end
$$;

-- Puts all rows of a hypertable into a table by days in its place. Days long ago and to come have no partition, as
-- everywhere. Called by put_telemetry.
create or replace function public.put_into_days(of_table text, time_column text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC'
as $$
declare
  before constant text := of_table || '_before';
  made constant text[] := public.set_aside(of_table);
  each text;
  day date;
begin
  execute format('create table %s (like %s including defaults including comments) partition by range (%I)', of_table,
    before, time_column);
  execute format('create table %1$s_default partition of %1$s default', of_table);
  foreach each in array made loop
    execute each;
  end loop;
  for day in execute format(
    'select distinct %1$I::date from %2$s where %1$I > now() - interval ''400 days'' and %1$I < now() + interval ''3 days''',
    time_column, before)
  loop
    perform public.make_day_partition(of_table, time_column, day);
  end loop;
  execute format('insert into %s select * from %s', of_table, before);
  execute format('drop table %s', before);
end
$$;

-- Puts what nodes and pools have said into hypertables ('timescaledb'), or back into tables by days ('plain'). Nobody can
-- read or write it meanwhile. Returns the tables that were not there yet. Called by the owner, as `pgfleet migrate
-- --telemetry`.
create or replace function public.put_telemetry(engine text) returns setof text
language plpgsql
as $$
declare
  rule record;
begin
  if engine = 'timescaledb' and public.timescaledb_schema() is null then
    if not exists (select from pg_available_extensions where name = 'timescaledb') then
      raise exception 'this server has no TimescaleDB'
        using hint = 'Install it, put timescaledb into shared_preload_libraries, and restart the server.';
    end if;
    create extension timescaledb schema public;
  end if;
  -- Whoever migrates may be only a member of whose all of this is.
  execute (
    select format('set local role %I', pg_get_userbyid(relowner)) from pg_class
    where oid = 'public.schema_migrations'::regclass);
  for rule in
    select r.table_name, r.time_column from public.retention r
    where r.table_name = any (public.telemetry_tables())
      and public.is_hypertable(r.table_name) <> (engine = 'timescaledb')
    order by 1
  loop
    if engine <> 'timescaledb' then
      perform public.put_into_days(rule.table_name, rule.time_column);
    elsif (select relrowsecurity from pg_class where oid = rule.table_name::regclass) then
      raise exception 'row level security is on, which a compressed hypertable does not have'
        using hint = '`pgfleet migrate --no-rls` switches it off.';
    else
      perform public.put_into_chunks(rule.table_name, rule.time_column, 'node_id');
    end if;
    return next rule.table_name;
  end loop;
  perform public.grant_fleet_roles();
end
$$;

revoke execute on function public.put_telemetry(text) from public;
revoke execute on function public.put_into_chunks(text, text, text) from public;
revoke execute on function public.put_into_days(text, text) from public;
revoke execute on function public.set_aside(text) from public;
revoke execute on function public.drop_chunks_before(text, text, date) from public;
