-- 022: how long what grows is kept. Tables that grow by the heartbeat are partitioned by day, and an old day is
-- dropped whole; the others are pruned ten thousand rows at a time. Any idle worker does it (keep_house), a table at
-- a time; nobody waits for it: it takes no lock that it can't have within a tenth of a second.

-- One row per table that is kept for a while only; keep is the operator's to change, the rest is the migration's.
create table if not exists public.retention (
  table_name text primary key,
  time_column text not null,
  keep interval not null check (
    keep >= '1 day' is not false or public.refuse_value('keep', keep::text, 'at least a day')),
  by_day boolean not null,
  -- Which rows may go; null for all.
  only_where text,
  next_at timestamptz not null default public.fleet_now()
);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('autoscaler.node_heartbeats', 'timestamp', '7 days', true, null),
  ('autoscaler.metrics', 'timestamp', '30 days', true, null),
  ('autoscaler.pool_analytics', 'timestamp', '30 days', true, null),
  ('clusters.cluster_metrics', 'timestamp', '30 days', true, null),
  ('autoscaler.system_analytics', 'timestamp', '400 days', false, null),
  ('clusters.cluster_events', 'created_at', '1 day', false, 'severity = ''debug'''),
  ('public.status_history', 'at', '400 days', false, null),
  ('public.dead_letters', 'answered_at', '90 days', false, 'answered_at is not null'),
  ('pgmq.a_gpu_reservations', 'archived_at', '30 days', false, null),
  ('pgmq.a_disk_operations', 'archived_at', '30 days', false, null),
  ('pgmq.a_cluster_assignments', 'archived_at', '30 days', false, null),
  ('pgmq.a_node_heartbeats', 'archived_at', '30 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

create index if not exists status_history_at_idx on public.status_history (at);
create index if not exists dead_letters_answered_idx on public.dead_letters (answered_at) where answered_at is not null;

-- The table of one day of a table that is partitioned by day.
create or replace function public.day_partition(of_table text, day date) returns text
language sql immutable
as $$ select format('%s_p%s', of_table, to_char(day, 'YYYYMMDD')) $$;

-- Makes the partition of a day, unless it is there. Rows of that day that had to go to the default partition move into
-- it. Attaching locks what its foreign keys lead to, for a moment: whoever calls this sets a short lock_timeout.
create or replace function public.make_day_partition(of_table text, time_column text, day date) returns void
language plpgsql
as $$
declare
  partition constant text := public.day_partition(of_table, day);
  parent constant text[] := parse_ident(of_table);
  referenced regclass;
begin
  if to_regclass(partition) is not null then
    return;
  end if;
  -- First all that the rest needs, so that nothing is moved in vain; and no row of the day comes in meanwhile.
  for referenced in
    select distinct confrelid::regclass from pg_constraint
    where conrelid = of_table::regclass and contype = 'f' order by 1
  loop
    execute format('lock table %s in share row exclusive mode', referenced);
  end loop;
  execute format('lock table %s_default in access exclusive mode', of_table);
  execute format('create table %s (like %I.%I including all)', partition, parent[1], parent[2]);
  execute format(
    'with moved as (delete from %1$s_default where %2$I >= %3$L and %2$I < %4$L returning *)
     insert into %5$s select * from moved',
    of_table, time_column, day, day + 1, partition);
  execute format(
    'alter table %I.%I attach partition %s for values from (%L) to (%L)',
    parent[1], parent[2], partition, day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00');
end
$$;

-- Three days ahead, so that a night without a worker hurts nobody (what has no day goes to the default partition, and
-- moves from there); and away with the days that are over.
create or replace function public.keep_days(rule public.retention) returns void
language plpgsql
as $$
declare
  today constant date := (public.fleet_now() at time zone 'UTC')::date;
  oldest constant date := ((public.fleet_now() - rule.keep) at time zone 'UTC')::date;
  old regclass;
begin
  for ahead in 0..3 loop
    perform public.make_day_partition(rule.table_name, rule.time_column, today + ahead);
  end loop;
  for old in
    select inhrelid::regclass from pg_inherits
    where inhparent = rule.table_name::regclass
      and to_date(substring(inhrelid::regclass::text from '_p(\d{8})$'), 'YYYYMMDD') < oldest
    order by 1
  loop
    execute format('drop table %s', old);
  end loop;
end
$$;

-- Deletes up to `most` rows that are too old, skipping any that somebody holds. Returns how many.
create or replace function public.prune_rows(rule public.retention, most integer) returns integer
language plpgsql
as $$
declare
  pruned integer;
begin
  execute format(
    'delete from %1$s where ctid = any (array(
       select ctid from %1$s where %2$I < $1 and (%3$s) limit $2 for update skip locked))',
    rule.table_name || case when rule.by_day then '_default' else '' end,
    rule.time_column, coalesce(rule.only_where, 'true'))
  using public.fleet_now() - rule.keep, most;
  get diagnostics pruned = row_count;
  return pruned;
end
$$;

-- One table's turn, if one is due: its name, else null. Called by idle workers every few seconds; two at once take two
-- tables. What can't be had at once is left for the next time.
create or replace function public.keep_house() returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '100ms'
as $$
declare
  rule public.retention;
  pruned integer := 0;
  again interval := '10 minutes';
  most constant integer := 10000;
begin
  select * into rule from public.retention
  where next_at <= public.fleet_now() order by next_at, by_day desc, table_name limit 1
  for update skip locked;
  if not found then
    return null;
  end if;
  begin
    pruned := public.prune_rows(rule, most);
  exception
    when lock_not_available or deadlock_detected then
      raise log 'pgfleet: % is in use, and is pruned later', rule.table_name;
    when undefined_table then
      raise log 'pgfleet: there is no table % to tidy', rule.table_name;
  end;
  begin
    if rule.by_day then
      perform public.keep_days(rule);
    end if;
  exception when lock_not_available or deadlock_detected then
    raise log 'pgfleet: % is in use, and gets its days later', rule.table_name;
    again := '10 seconds';
  end;
  update public.retention
  set next_at = public.fleet_now() + case when pruned = most then interval '0' else again end
  where table_name = rule.table_name;
  return rule.table_name;
end
$$;

revoke execute on function public.keep_house() from public;
