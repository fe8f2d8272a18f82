-- 103: how long what grows is kept. Tables that grow by the heartbeat are partitioned by day, and an old day is
-- dropped whole; the others are pruned ten thousand rows at a time. Any idle worker does it (keep_house), a table at
-- a time; nobody waits for it: it takes no lock that it can't have within a tenth of a second.

-- The name of the table that holds one day of a table that is partitioned by day. Called by make_day_partition.
create or replace function public.day_partition(of_table text, day date) returns text
language sql immutable
as $$ select format('%s_p%s', of_table, to_char(day, 'YYYYMMDD')) $$;

-- Makes the partition of a day, unless it is there. Rows of that day that had to go to the default partition move
-- into it. Attaching locks what its foreign keys lead to, for a moment: whoever calls this sets a short
-- lock_timeout. Called by keep_days.
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
    parent[1], parent[2], partition, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00',
    to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
end
$$;

-- Makes partitions three days ahead, so that a night without a worker does no harm (a row whose day has no partition
-- goes to the default partition, and moves from there), and drops those of the days that are over. A hypertable (194)
-- makes its chunks itself. Called by keep_house.
create or replace function public.keep_days(rule public.retention) returns void
language plpgsql
as $$
declare
  today constant date := (public.fleet_now() at time zone 'UTC')::date;
  oldest constant date := ((public.fleet_now() - rule.keep) at time zone 'UTC')::date;
  old regclass;
begin
  if public.is_hypertable(rule.table_name) then
    perform public.drop_chunks_before(rule.table_name, rule.time_column, oldest);
    return;
  end if;
  for ahead in 0..3 loop
    perform public.make_day_partition(rule.table_name, rule.time_column, today + ahead);
  end loop;
  for old in
    select inhrelid::regclass from pg_inherits join pg_class c on c.oid = inhrelid
    where inhparent = rule.table_name::regclass
      and to_date(substring(c.relname::text from '_p([0-9]{8})$'), 'YYYYMMDD') < oldest
    order by 1
  loop
    execute format('drop table %s', old);
  end loop;
end
$$;

-- Deletes up to `most` rows that are too old, skipping any that somebody holds. Returns how many. Where statistics are of an
-- empty table, a third of all would seem too old: then all of it would be read each time in vain, and not the index of its
-- time. Called by keep_house.
create or replace function public.prune_rows(rule public.retention, most integer) returns integer
language plpgsql
set enable_seqscan = off
as $$
declare
  pruned integer;
begin
  if rule.by_day and public.is_hypertable(rule.table_name) then
    return 0;
  end if;
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

-- Prunes one table, if one is due, and returns its name, else null. Called by idle workers every few seconds; two at
-- once take two tables. What can't be had at once is left for the next time; what fails is written down, and the next
-- table has its turn.
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
  trouble text;
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
    when query_canceled or others then
      trouble := sqlerrm;
  end;
  begin
    if rule.by_day then
      perform public.keep_days(rule);
    end if;
  exception
    when lock_not_available or deadlock_detected then
      raise log 'pgfleet: % is in use, and gets its days later', rule.table_name;
      again := '10 seconds';
    when query_canceled or others then
      trouble := coalesce(trouble, sqlerrm);
  end;
  update public.retention
  set next_at = public.fleet_now() + case when pruned = most then interval '0' else again end,
    problem = left(trouble, 500),
    problem_since = case when trouble is not null then coalesce(problem_since, public.fleet_now()) end
  where table_name = rule.table_name;
  return rule.table_name;
end
$$;

revoke execute on function public.keep_house() from public;
