-- 033: keys that last for as long as the fleet does. What grows has a bigint for its key, and so has what refers to it;
-- an integer stays where a person makes each row: nodes, schedules, users, API keys. The ids of heartbeats are kept by
-- the day, in an order in which new ones stand side by side.
--
-- On a database that has run for a while this rewrites autoscaler.metrics and pool_analytics (30 days of them), and
-- copies heartbeat_ids (2 days): about a minute for each ten million rows, in which no heartbeat is taken.

-- squawk-ignore changing-column-type
alter table autoscaler.pools alter column id type bigint;
-- squawk-ignore changing-column-type
alter table autoscaler.metrics alter column pool_id type bigint;
-- squawk-ignore changing-column-type
alter table autoscaler.pool_analytics alter column pool_id type bigint;
-- squawk-ignore changing-column-type
alter table autoscaler.system_analytics alter column id type bigint;
-- squawk-ignore changing-column-type
alter table autoscaler.audit_logs alter column id type bigint;
-- squawk-ignore changing-column-type
alter table autoscaler.node_lifecycle_logs alter column id type bigint;
-- squawk-ignore changing-column-type
alter table autoscaler.node_configurations alter column id type bigint;

alter sequence autoscaler.pools_id_seq as bigint;
alter sequence autoscaler.system_analytics_id_seq as bigint;
alter sequence autoscaler.audit_logs_id_seq as bigint;
alter sequence autoscaler.node_lifecycle_logs_id_seq as bigint;
alter sequence autoscaler.node_configurations_id_seq as bigint;

-- The ids of heartbeats that were counted (020). `at` is the day on which one was, by our clock, so that a day is dropped
-- whole, whatever the nodes' clocks say. sent_at comes first in the key: ids are random, and would each be written to a
-- page of its own; by the time at which they were sent they stand side by side. A repeat is sent with the same
-- sent_at, so it is found by it (141). Those of before, of which it was not kept, have -infinity.
do $$
declare
  first_day date;
  last_day date;
  rights record;
begin
  if (select relkind = 'p' from pg_class where oid = 'public.heartbeat_ids'::regclass) then
    return;
  end if;
  alter table public.heartbeat_ids rename to heartbeat_ids_of_before;
  alter table public.heartbeat_ids_of_before rename constraint heartbeat_ids_pkey to heartbeat_ids_of_before_pkey;
  create table public.heartbeat_ids (
    id uuid not null,
    sent_at timestamptz not null,
    at timestamptz not null default date_trunc('day', public.fleet_now(), 'UTC'),
    primary key (sent_at, id, at)
  ) partition by range (at);
  create table public.heartbeat_ids_default partition of public.heartbeat_ids default;

  select min((at at time zone 'UTC')::date), max((at at time zone 'UTC')::date) into first_day, last_day
  from public.heartbeat_ids_of_before;
  for day in 0 .. coalesce(last_day - first_day, -1) loop
    execute format('create table public.heartbeat_ids_p%s partition of public.heartbeat_ids for values from (%L) to (%L)',
      to_char(first_day + day, 'YYYYMMDD'), first_day + day || ' 00:00:00+00', first_day + day + 1 || ' 00:00:00+00');
  end loop;
  insert into public.heartbeat_ids (id, sent_at, at)
  select id, '-infinity', date_trunc('day', at, 'UTC') from public.heartbeat_ids_of_before;

  for rights in
    select grantee::regrole as who, privilege_type as may
    from pg_class c cross join aclexplode(c.relacl)
    where c.oid = 'public.heartbeat_ids_of_before'::regclass and grantee <> 0 and grantee <> c.relowner
  loop
    execute format('grant %s on public.heartbeat_ids to %s', rights.may, rights.who);
  end loop;
  drop table public.heartbeat_ids_of_before;
end
$$;

-- Where 020 is applied once more by hand.
-- squawk-ignore require-concurrent-index-deletion
drop index if exists public.heartbeat_ids_at_idx;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.heartbeat_ids', 'at', '2 days', true, null)
on conflict (table_name) do update set by_day = true, next_at = public.fleet_now();
