-- 024: what the heartbeat worker does, as set-based statements: a whole claim of heartbeats in one call, the sweeps
-- that tell a dead node from a silent queue, the minute's analytics, and schedules. The worker (workers/heartbeat/machine.py)
-- reads and checks the messages, calls these in the transaction that deletes them, and tells what they return.

-- The ids of heartbeats that were counted: the same message again changes nothing. Kept for two days; a message that
-- comes again after that is too late to change anything but the history.
create table if not exists public.heartbeat_ids (
  id uuid primary key,
  at timestamptz not null default public.fleet_now()
);

create index if not exists heartbeat_ids_at_idx on public.heartbeat_ids (at);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.heartbeat_ids', 'at', '2 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

-- What the offline sweep saw last, one row per kind of node. held_back: why it marked nobody although some were
-- silent; null when it did its work.
create table if not exists public.offline_sweeps (
  machine text primary key,
  swept_at timestamptz not null,
  alive integer not null,
  silent integer not null,
  marked integer not null,
  held_back text,
  held_back_since timestamptz,
  -- Most were silent at once: until then, those that are not back yet are given time to come.
  patient_until timestamptz
);

-- Whether what a node says of itself is an error.
create or replace function autoscaler.tells_error(said_status text, said_error text) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(said_error, '') <> '' or (
    said_status ~* '\m(error|failed|failing|failure|fault|faulty|critical|unhealthy|crashed|crashing)\M'
    and said_status !~* '\m(no|without) (error|failure|fault)\M')
$$;

-- The unit of a metric, by the last word of its name.
create or replace function autoscaler.unit_of(metric text) returns text
language sql immutable parallel safe
as $$
  select case substring(lower(metric) from '[a-z]+$')
    when 'percent' then 'percent' when 'utilization' then 'percent'
    when 'bytes' then 'bytes' when 'gb' then 'gigabytes' when 'mb' then 'megabytes'
    when 'seconds' then 'seconds' when 's' then 'seconds' when 'ms' then 'milliseconds'
    else 'count'
  end
$$;

-- When a heartbeat measured, as seed 002 writes times; what is older than a day is written as a day old, so that no
-- clock sets rows among those that are pruned already.
create or replace function autoscaler.measured_at(sent_at timestamptz) returns timestamp
language sql stable parallel safe
as $$ select greatest(sent_at, public.fleet_now() - interval '1 day') at time zone 'UTC' $$;

-- Answers a node that runs another configuration than it should, in the queue that it named, unless the same answer
-- is among the newest that wait there. Returns false where there is no such queue, or not for us: then the heartbeat
-- counts all the same.
create or replace function autoscaler.answer_drift(reply_to text, answer jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  waits boolean;
begin
  if reply_to !~ '^node_replies_[a-z0-9_]{1,27}$' or to_regclass(format('pgmq.%I', 'q_' || reply_to)) is null then
    return false;
  end if;
  execute format(
    'select exists (select from (select message from pgmq.%I order by msg_id desc limit 1000) q where message = $1)',
    'q_' || reply_to)
  into waits using answer;
  if not waits then
    perform pgmq.send(reply_to, answer);
  end if;
  return true;
exception when insufficient_privilege or undefined_table or lock_not_available then
  return false;
end
$$;

revoke execute on function autoscaler.answer_drift(text, jsonb) from public;

-- Counts heartbeats, each id once: the places of those that were not counted before. Of one id twice it is the first.
create or replace function public.count_heartbeats(ids uuid[], places integer[]) returns integer[]
language sql
as $$
  with told as (
    select distinct on (id) id, place from unnest(ids, places) as t (id, place) order by id, place
  ), counted as (
    insert into public.heartbeat_ids (id, at)
    select id, public.fleet_now() from told order by id
    on conflict (id) do nothing
    returning id
  )
  select coalesce(array_agg(place), '{}') from told join counted using (id)
$$;

-- A heartbeat on its way through the functions below.
do $$
begin
  if to_regtype('autoscaler.heartbeat') is null then
    create type autoscaler.heartbeat as (place integer, id uuid, node_id integer, sent_at timestamptz, status text,
      error_message text, config_hash text, metrics jsonb, pools jsonb, reply_to text);
  end if;
  if to_regtype('clusters.heartbeat') is null then
    create type clusters.heartbeat as (place integer, id uuid, node_id text, sent_at timestamptz, status text,
      error_message text, config_hash text, cpu float8, memory float8, disk float8, load_average float8,
      metrics jsonb);
  end if;
end
$$;

-- Takes heartbeats of autoscaler nodes, an array of messages as their JSON Schema has them. Returns a row for each that
-- needs a word, with its place in the array (from 0): 'wait' (its node is not known, yet), 'done' (a deleted node, or
-- counted before), 'note' (it counted, but part of it was refused), 'held' (somebody has its node in an open
-- transaction: to be taken later; only with skip_held, else the call waits).
create or replace function autoscaler.take_heartbeats(beats jsonb, skip_held boolean default false)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  fleet_time constant timestamptz := public.fleet_now();
  utc constant timestamp := fleet_time at time zone 'UTC';
  said autoscaler.heartbeat[];
  ours integer[];
  fresh integer[];
begin
  select array_agg(row(b.place - 1, b.id, b.node_id, least(b.sent_at, fleet_time), b.status,
    nullif(b.error_message, ''), b.config_hash, b.metrics, b.pools, b.reply_to)::autoscaler.heartbeat)
  into said
  from rows from (jsonb_to_recordset(beats) as (id uuid, node_id integer, sent_at timestamptz, status text,
    error_message text, config_hash text, metrics jsonb, pools jsonb, reply_to text)) with ordinality
    b (id, node_id, sent_at, status, error_message, config_hash, metrics, pools, reply_to, place);

  if skip_held then
    select array_agg(id) into ours from (
      select id from autoscaler.nodes where id = any (array(select node_id from unnest(said)))
      order by id for no key update skip locked) n;
  else
    select array_agg(id) into ours from (
      select id from autoscaler.nodes where id = any (array(select node_id from unnest(said)))
      order by id for no key update) n;
  end if;
  return query
    select s.place,
      case when n.id is null then 'wait' when n.deleted_at is not null then 'done' else 'held' end,
      case when n.id is null then format('there is no node %s', s.node_id)
        when n.deleted_at is not null then format('node %s was deleted', s.node_id)
        else format('node %s is held by somebody', s.node_id) end
    from unnest(said) s left join autoscaler.nodes n on n.id = s.node_id
    where n.id is null or n.deleted_at is not null or (n.id = any (ours)) is not true;
  if found then
    select array_agg(s order by s.place) into said
    from unnest(said) s join autoscaler.nodes n on n.id = s.node_id
    where n.deleted_at is null and n.id = any (ours);
  end if;

  fresh := public.count_heartbeats(array(select s.id from unnest(said) s), array(select s.place from unnest(said) s));
  if cardinality(fresh) < cardinality(said) then
    return query select s.place, 'done', 'counted before' from unnest(said) s where not s.place = any (fresh);
    select array_agg(s order by s.place) into said from unnest(said) s where s.place = any (fresh);
  end if;
  if said is null then
    return;
  end if;

  insert into autoscaler.node_heartbeats
    (node_id, config_hash, status, error_message, metrics_data, timestamp, heartbeat_id, sent_at)
  select s.node_id, s.config_hash, s.status, s.error_message, s.metrics::text, utc, s.id, s.sent_at
  from unnest(said) s;

  insert into autoscaler.metrics (node_id, metric_type, value, unit, timestamp)
  select s.node_id, m.key, m.value::float8, autoscaler.unit_of(m.key), autoscaler.measured_at(s.sent_at)
  from unnest(said) s cross join lateral jsonb_each(s.metrics) m
  where jsonb_typeof(m.value) = 'number';

  update autoscaler.nodes n set status = 'ACTIVE', status_reason = 'first heartbeat'
  where n.status = 'INACTIVE' and n.id = any (array(select node_id from unnest(said)));

  with latest as (
    select distinct on (s.node_id) s.*, autoscaler.tells_error(s.status, s.error_message) as tells_error
    from unnest(said) s order by s.node_id, s.sent_at desc, s.place desc
  )
  update autoscaler.nodes n set
    last_heartbeat = l.sent_at at time zone 'UTC',
    config_hash = coalesce(l.config_hash, n.config_hash),
    error_message = l.error_message,
    status = case
      -- Sent well before it was marked: it is late, and tells nothing of now.
      when n.status = 'OFFLINE' and l.sent_at < n.status_since - interval '30 seconds' then 'OFFLINE'
      when l.tells_error then 'ERROR' else 'ACTIVE' end::autoscaler.node_status,
    status_reason = case
      when n.status = 'OFFLINE' and l.sent_at < n.status_since - interval '30 seconds' then n.status_reason
      when l.tells_error <> (n.status = 'ERROR') or n.status = 'OFFLINE'
        then left(coalesce(l.error_message, 'it reports: ' || l.status), 1000)
      else n.status_reason end
  from latest l
  where n.id = l.node_id and (n.last_heartbeat is null or l.sent_at at time zone 'UTC' > n.last_heartbeat);

  return query select * from autoscaler.take_pools(said, skip_held);
  perform autoscaler.tell_drift(said);
end
$$;

-- The pools of some heartbeats: as last reported into pools, all of them into pool_analytics. A pool that belongs to
-- another node is refused, and the rest kept; that of a deleted node passes to who reports it. With skip_held a pool
-- that somebody has in an open transaction keeps what it said before.
create or replace function autoscaler.take_pools(said autoscaler.heartbeat[], skip_held boolean)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  named constant text[] := array(
    select distinct p ->> 'oracle_pool_id' from unnest(said) s cross join lateral jsonb_array_elements(s.pools) p);
  held text[] := '{}';
begin
  if named = '{}' then
    return;
  end if;
  if skip_held then
    select array_agg(oracle_pool_id) into held from (
      select oracle_pool_id from autoscaler.pools where oracle_pool_id = any (named)
      order by oracle_pool_id for no key update skip locked) p;
    select coalesce(array_agg(oracle_pool_id), '{}') into held
    from autoscaler.pools where oracle_pool_id = any (named) and (oracle_pool_id = any (held)) is not true;
  end if;
  insert into autoscaler.pools as known (node_id, oracle_pool_id, name, region, current_instances, status, is_active,
    last_reported_at, active_instances, avg_cpu_utilization, avg_memory_utilization, max_cpu_utilization,
    max_memory_utilization)
  select distinct on (p.oracle_pool_id)
    s.node_id, p.oracle_pool_id, p.oracle_pool_id, n.region, p.current_instances,
    coalesce(p.pool_status, 'healthy'), coalesce(p.is_active, true), s.sent_at, p.active_instances,
    p.avg_cpu_utilization, p.avg_memory_utilization, p.max_cpu_utilization, p.max_memory_utilization
  from unnest(said) s
  join autoscaler.nodes n on n.id = s.node_id
  cross join lateral jsonb_to_recordset(s.pools) p (oracle_pool_id text, current_instances integer,
    active_instances integer, avg_cpu_utilization float8, avg_memory_utilization float8, max_cpu_utilization float8,
    max_memory_utilization float8, pool_status autoscaler.pool_status, is_active boolean)
  left join autoscaler.pools owned on owned.oracle_pool_id = p.oracle_pool_id
  where not p.oracle_pool_id = any (held)
  order by p.oracle_pool_id, (owned.node_id = s.node_id) desc nulls last, s.sent_at desc
  on conflict (oracle_pool_id) do update set
    node_id = excluded.node_id,
    current_instances = excluded.current_instances,
    status = excluded.status,
    is_active = excluded.is_active,
    last_reported_at = excluded.last_reported_at,
    active_instances = excluded.active_instances,
    avg_cpu_utilization = excluded.avg_cpu_utilization,
    avg_memory_utilization = excluded.avg_memory_utilization,
    max_cpu_utilization = excluded.max_cpu_utilization,
    max_memory_utilization = excluded.max_memory_utilization
  where (known.node_id = excluded.node_id
      and (known.last_reported_at is null or known.last_reported_at <= excluded.last_reported_at))
    or exists (select from autoscaler.nodes o where o.id = known.node_id and o.deleted_at is not null);

  insert into autoscaler.pool_analytics (pool_id, node_id, oracle_pool_id, timestamp, current_instances,
    active_instances, avg_cpu_utilization, avg_memory_utilization, max_cpu_utilization, max_memory_utilization,
    pool_status, is_active, scaling_event, scaling_reason)
  select known.id, s.node_id, p.oracle_pool_id, autoscaler.measured_at(s.sent_at), p.current_instances,
    p.active_instances,
    p.avg_cpu_utilization, p.avg_memory_utilization, p.max_cpu_utilization, p.max_memory_utilization,
    coalesce(p.pool_status, 'healthy'), coalesce(p.is_active, true), p.scaling_event, p.scaling_reason
  from unnest(said) s
  cross join lateral jsonb_to_recordset(s.pools) p (oracle_pool_id text, current_instances integer,
    active_instances integer, avg_cpu_utilization float8, avg_memory_utilization float8, max_cpu_utilization float8,
    max_memory_utilization float8, pool_status text, is_active boolean, scaling_event text, scaling_reason text)
  join autoscaler.pools known on known.oracle_pool_id = p.oracle_pool_id and known.node_id = s.node_id;

  return query
    select s.place, 'note', format('pool %s belongs to node %s', p.oracle_pool_id, known.node_id)
    from unnest(said) s
    cross join lateral jsonb_to_recordset(s.pools) p (oracle_pool_id text)
    join autoscaler.pools known on known.oracle_pool_id = p.oracle_pool_id and known.node_id <> s.node_id;
end
$$;

-- Answers those of some heartbeats whose node should run another configuration.
create or replace function autoscaler.tell_drift(said autoscaler.heartbeat[]) returns void
language sql
as $$
  select autoscaler.answer_drift(l.reply_to, jsonb_build_object(
    'node_id', l.node_id, 'config_update_needed', true, 'current_config_hash', c.config_hash,
    'new_config', c.yaml_config))
  from (
    select distinct on (s.node_id) s.node_id, s.config_hash, s.reply_to, s.sent_at
    from unnest(said) s where s.reply_to is not null order by s.node_id, s.sent_at desc, s.place desc
  ) l
  join autoscaler.nodes n on n.id = l.node_id
  cross join lateral (
    select * from autoscaler.node_configurations c where c.node_id = l.node_id and c.is_active
    order by c.id desc limit 1
  ) c
  where c.config_hash is distinct from coalesce(l.config_hash, n.config_hash)
    -- A late one tells what the node ran before.
    and l.sent_at at time zone 'UTC' >= n.last_heartbeat
$$;

-- Takes heartbeats of cluster nodes; shapes as of autoscaler.take_heartbeats. What one does not measure stays as it
-- was. A node that an operator set aside (maintenance, decommissioning) is heard, and stays where it is.
create or replace function clusters.take_heartbeats(beats jsonb, skip_held boolean default false)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  fleet_time constant timestamptz := public.fleet_now();
  said clusters.heartbeat[];
  ours text[];
  fresh integer[];
  changed text[];
  of_cluster text;
begin
  select array_agg(row(b.place - 1, b.id, b.node_id, least(b.sent_at, fleet_time), b.status,
    nullif(b.error_message, ''), b.config_hash, b.cpu_usage_percent, b.memory_usage_percent,
    b.disk_usage_percent, b.load_average,
    coalesce(b.metrics, '{}') || coalesce(b.network, '{}'))::clusters.heartbeat)
  into said
  from rows from (jsonb_to_recordset(beats) as (id uuid, node_id text, sent_at timestamptz, status text,
    error_message text, config_hash text, cpu_usage_percent float8, memory_usage_percent float8,
    disk_usage_percent float8, load_average float8, metrics jsonb, network jsonb)) with ordinality
    b (id, node_id, sent_at, status, error_message, config_hash, cpu_usage_percent, memory_usage_percent,
      disk_usage_percent, load_average, metrics, network, place);

  -- Clusters before nodes, as every function of 020 locks them.
  select array_agg(distinct cluster_id) into ours
  from clusters.cluster_nodes where node_id = any (array(select node_id from unnest(said)));
  if skip_held then
    select array_agg(cluster_id) into ours from (
      select cluster_id from clusters.clusters where cluster_id = any (ours)
      order by cluster_id for no key update skip locked) c;
    select array_agg(node_id) into ours from (
      select node_id from clusters.cluster_nodes
      where node_id = any (array(select node_id from unnest(said))) and cluster_id = any (ours)
      order by node_id for no key update skip locked) n;
  else
    perform from clusters.clusters where cluster_id = any (ours) order by cluster_id for no key update;
    select array_agg(node_id) into ours from (
      select node_id from clusters.cluster_nodes where node_id = any (array(select node_id from unnest(said)))
      order by node_id for no key update) n;
  end if;
  return query
    select s.place,
      case when n.node_id is null then 'wait' when n.deleted_at is not null then 'done' else 'held' end,
      case when n.node_id is null then format('there is no cluster node %s', s.node_id)
        when n.deleted_at is not null then format('cluster node %s was taken away', s.node_id)
        else format('cluster node %s is held by somebody', s.node_id) end
    from unnest(said) s left join clusters.cluster_nodes n on n.node_id = s.node_id
    where n.node_id is null or n.deleted_at is not null or (n.node_id = any (ours)) is not true;
  if found then
    select array_agg(s order by s.place) into said
    from unnest(said) s join clusters.cluster_nodes n on n.node_id = s.node_id
    where n.deleted_at is null and n.node_id = any (ours);
  end if;

  fresh := public.count_heartbeats(array(select s.id from unnest(said) s), array(select s.place from unnest(said) s));
  if cardinality(fresh) < cardinality(said) then
    return query select s.place, 'done', 'counted before' from unnest(said) s where not s.place = any (fresh);
    select array_agg(s order by s.place) into said from unnest(said) s where s.place = any (fresh);
  end if;
  if said is null then
    return;
  end if;

  insert into clusters.cluster_metrics (cluster_id, node_id, metrics, timestamp)
  select n.cluster_id, s.node_id, jsonb_strip_nulls(s.metrics || jsonb_build_object(
    'cpu_usage_percent', s.cpu, 'memory_usage_percent', s.memory, 'disk_usage_percent', s.disk,
    'load_average', s.load_average)), greatest(s.sent_at, fleet_time - interval '1 day')
  from unnest(said) s join clusters.cluster_nodes n on n.node_id = s.node_id;

  -- Changed are the clusters of which a node's status or health is another than before.
  with latest as (
    select distinct on (s.node_id) s.node_id, s.sent_at, s.status as said_status, s.error_message, s.config_hash,
      coalesce(s.cpu, n.cpu_usage_percent) as cpu, coalesce(s.memory, n.memory_usage_percent) as memory,
      coalesce(s.disk, n.disk_usage_percent) as disk, s.load_average, s.metrics,
      n.status as was_status, n.health_status as was_health,
      case
        when n.status in ('maintenance', 'decommissioning') then n.status
        -- Sent well before it was marked: it is late, and tells nothing of now.
        when n.status = 'offline' and s.sent_at < n.status_since - clusters.silence_of(c.config, 1) then n.status
        when autoscaler.tells_error(s.status, s.error_message) then 'error'
        else 'online'
      end as new_status
    from unnest(said) s
    join clusters.cluster_nodes n on n.node_id = s.node_id
    join clusters.clusters c on c.cluster_id = n.cluster_id
    order by s.node_id, s.sent_at desc, s.place desc
  ), taken as (
    update clusters.cluster_nodes n set
      last_heartbeat = l.sent_at,
      status = l.new_status,
      status_reason = case when n.status = l.new_status then n.status_reason
        else left(coalesce(l.error_message, 'it reports: ' || l.said_status), 1000) end,
      health_status = clusters.node_health(l.cpu, l.memory, l.disk),
      cpu_usage_percent = l.cpu,
      memory_usage_percent = l.memory,
      disk_usage_percent = l.disk,
      load_average = coalesce(l.load_average, n.load_average),
      metrics = case when l.metrics = '{}' then n.metrics else l.metrics end,
      config_hash = coalesce(l.config_hash, n.config_hash),
      error_message = l.error_message
    from latest l
    where n.node_id = l.node_id and (n.last_heartbeat is null or l.sent_at > n.last_heartbeat)
    returning n.cluster_id, (l.was_status, l.was_health) is distinct from (n.status, n.health_status) as changed
  )
  select array_agg(distinct cluster_id order by cluster_id) into changed from taken where taken.changed;

  foreach of_cluster in array coalesce(changed, '{}') loop
    perform clusters.assess(of_cluster);
  end loop;
end
$$;

-- How long the oldest heartbeat in the queue has been due: what was sent before then has been heard, what was sent
-- since may not have been. One that shall come later (or waits for its node to be known) is not counted.
create or replace function public.heartbeat_lag() returns interval
language sql stable
as $$
  select coalesce(public.fleet_now() - (
    select enqueued_at from pgmq.q_node_heartbeats
    where message ->> 'action' = 'heartbeat' and (vt <= public.fleet_now() or read_ct > 0)
    order by msg_id limit 1), '0')
$$;

-- The nodes of which a heartbeat still waits, as their messages name them: whatever they told before, they are there.
create or replace function public.nodes_in_queue() returns text[]
language sql stable
as $$
  select array(
    select distinct message ->> 'node_id' from pgmq.q_node_heartbeats where message ->> 'action' = 'heartbeat')
$$;

-- More than that share of at least three.
create or replace function public.too_many(silent bigint, alive bigint, most_share float8) returns boolean
language sql immutable
as $$ select alive >= 3 and silent > most_share * alive $$;

-- Why an offline sweep must hold back; null if it need not. A silent queue, or a server that was away, is not a dead
-- fleet; and when most nodes go at once it is rather us, or the network, than them: whoever is not back when the others
-- are has as long as a silence may be to come.
create or replace function public.why_hold_back(
  of_machine text, silent bigint, alive bigint, silence interval, most_share float8)
returns text
language sql stable
as $$
  select case
    when silent = 0 then null
    when public.heartbeat_lag() > silence / 2
      then format('heartbeats wait in the queue for %s', date_trunc('second', public.heartbeat_lag()))
    when public.fleet_now() - pg_postmaster_start_time() < silence
      then format('the server started at %s', date_trunc('second', pg_postmaster_start_time()))
    when public.too_many(silent, alive, most_share)
      then format('%s of %s would go offline at once, more than PGFLEET_MASS_OUTAGE_SHARE (%s)', silent, alive,
        most_share)
    when public.fleet_now() < (select patient_until from public.offline_sweeps where machine = of_machine)
      then format('most were silent a while ago: %s are not back yet', silent)
  end
$$;

-- Writes down what a sweep saw; returns it.
create or replace function public.note_sweep(
  of_machine text, were_alive bigint, were_silent bigint, were_marked bigint, why text, silence interval,
  most_share float8)
returns public.offline_sweeps
language sql
as $$
  insert into public.offline_sweeps as known
    (machine, swept_at, alive, silent, marked, held_back, held_back_since, patient_until)
  values (of_machine, public.fleet_now(), were_alive, were_silent, were_marked, why,
    case when why is not null then public.fleet_now() end,
    -- Not where the queue explains it: then what was heard is known to the second.
    case when public.too_many(were_silent, were_alive, most_share) and public.heartbeat_lag() <= silence / 2
      then public.fleet_now() + silence end)
  on conflict (machine) do update set
    swept_at = excluded.swept_at, alive = excluded.alive, silent = excluded.silent, marked = excluded.marked,
    held_back = excluded.held_back,
    patient_until = coalesce(excluded.patient_until, known.patient_until),
    held_back_since = case when excluded.held_back is not null then coalesce(known.held_back_since, public.fleet_now())
      end
  returning *
$$;

-- Marks nodes offline that were silent for too long before the oldest heartbeat that still waits, and of which none
-- waits, unless there is a reason to hold back. One sweep at a time.
create or replace function autoscaler.sweep_offline(silence interval, most_share float8)
returns public.offline_sweeps
language plpgsql
as $$
declare
  since constant timestamp := (public.fleet_now() - silence - public.heartbeat_lag()) at time zone 'UTC';
  coming text[];
  alive bigint;
  silent bigint;
  marked bigint := 0;
  why text;
begin
  perform pg_advisory_xact_lock(hashtext('pgfleet.sweep_offline'), hashtext('node'));
  select count(*), count(*) filter (
    where coalesce(last_heartbeat, status_since at time zone 'UTC')
      < (public.fleet_now() - silence) at time zone 'UTC')
  into alive, silent
  from autoscaler.nodes where status in ('ACTIVE', 'ERROR') and deleted_at is null;
  why := public.why_hold_back('node', silent, alive, silence, most_share);
  if why is null and silent > 0 then
    coming := public.nodes_in_queue();
    -- Whoever is held by somebody has its turn at the next sweep.
    with gone as (
      select id from autoscaler.nodes
      where status in ('ACTIVE', 'ERROR') and deleted_at is null
        and coalesce(last_heartbeat, status_since at time zone 'UTC') < since
        and not id::text = any (coming)
      order by id for no key update skip locked
    )
    update autoscaler.nodes n
    set status = 'OFFLINE', status_reason = format('Heartbeat timeout after %s', public.in_words(silence))
    from gone where n.id = gone.id;
    get diagnostics marked = row_count;
  end if;
  return public.note_sweep('node', alive, silent, marked, why, silence, most_share);
end
$$;

-- Marks cluster nodes offline that were silent for so many health check intervals of their cluster, and lets clusters
-- find other leaders: those of silent nodes, and those that somebody changed by hand.
create or replace function clusters.sweep_offline(
  intervals float8, most_share float8, skip_held boolean default false)
returns public.offline_sweeps
language plpgsql
as $$
declare
  heard_until constant timestamptz := public.fleet_now() - public.heartbeat_lag();
  up_for constant interval := public.fleet_now() - pg_postmaster_start_time();
  alive bigint;
  silent text[];
  shortest interval;
  concerned text[];
  coming text[];
  of_cluster text;
  marked bigint := 0;
  why text;
begin
  perform pg_advisory_xact_lock(hashtext('pgfleet.sweep_offline'), hashtext('cluster_node'));
  select count(*), coalesce(array_agg(n.node_id) filter (where h.heard < public.fleet_now() - s.silence), '{}'),
    min(s.silence) filter (where h.heard < public.fleet_now() - s.silence)
  into alive, silent, shortest
  from clusters.cluster_nodes n
  join clusters.clusters c using (cluster_id)
  cross join lateral (select clusters.silence_of(c.config, intervals) as silence) s
  cross join lateral (select coalesce(n.last_heartbeat, n.status_since) as heard) h
  where n.status in ('online', 'error') and n.deleted_at is null and c.status <> 'decommissioning';
  why := public.why_hold_back('cluster_node', cardinality(silent), alive, shortest, most_share);

  select coalesce(array_agg(cluster_id order by cluster_id), '{}') into concerned
  from clusters.clusters c join clusters.cluster_health h using (cluster_id)
  where c.status <> 'decommissioning' and (
    c.health_score <> h.score
    or why is null and exists (
      select from clusters.cluster_nodes n where n.cluster_id = c.cluster_id and n.node_id = any (silent))
    or exists (
      select from clusters.cluster_nodes n
      where n.node_id in (c.primary_node_id, c.coordinator_node_id)
        and (n.status <> 'online' or n.health_status = 'critical' or n.deleted_at is not null)));
  -- Whoever is held by somebody has its turn at the next sweep.
  if skip_held then
    select coalesce(array_agg(cluster_id order by cluster_id), '{}') into concerned from (
      select cluster_id from clusters.clusters where cluster_id = any (concerned)
      order by cluster_id for no key update skip locked) c;
  else
    perform from clusters.clusters where cluster_id = any (concerned) order by cluster_id for no key update;
  end if;
  if why is null then
    coming := public.nodes_in_queue();
    with gone as (
      select n.node_id, clusters.silence_of(c.config, intervals) as silence
      from clusters.cluster_nodes n join clusters.clusters c using (cluster_id)
      where n.node_id = any (silent) and n.cluster_id = any (concerned) and n.status in ('online', 'error')
        and n.deleted_at is null and not n.node_id = any (coming)
        and coalesce(n.last_heartbeat, n.status_since) < heard_until - clusters.silence_of(c.config, intervals)
        and up_for > clusters.silence_of(c.config, intervals)
      order by n.node_id for no key update of n skip locked
    )
    update clusters.cluster_nodes n
    set status = 'offline', status_reason = 'Heartbeat timeout after ' || public.in_words(gone.silence)
    from gone where n.node_id = gone.node_id;
    get diagnostics marked = row_count;
  end if;
  foreach of_cluster in array concerned loop
    perform clusters.assess(of_cluster);
  end loop;
  return public.note_sweep('cluster_node', alive, cardinality(silent), marked, why, shortest, most_share);
end
$$;

-- How long a node of a cluster with this configuration may be silent; whatever a hand wrote there, an interval
-- between a second and a day.
create or replace function clusters.silence_of(config jsonb, intervals float8) returns interval
language sql immutable
as $$
  select make_interval(secs => intervals * case jsonb_typeof(config -> 'healthCheckInterval')
    when 'number' then greatest(1, least(86400, (config ->> 'healthCheckInterval')::numeric))::float8 else 30 end)
$$;

-- '5 minutes', '90 seconds'.
create or replace function public.in_words(span interval) returns text
language sql immutable
as $$
  select case when seconds >= 120 and mod(seconds, 60) = 0 then format('%s minutes', seconds / 60)
    else format('%s seconds', seconds) end
  from (select round(extract(epoch from span))::integer as seconds) s
$$;

-- All active pools of living nodes together, once a minute: the sums and averages of what they last reported, and the
-- peaks of the last 24 hours, this minute included. The same minute again changes nothing.
create or replace function autoscaler.roll_up() returns void
language sql
as $$
  with minute as (select date_trunc('minute', public.fleet_now() at time zone 'UTC') as at),
  pools as (
    select count(*) as total, coalesce(sum(p.current_instances), 0) as current_instances,
      coalesce(sum(p.active_instances), 0) as active_instances,
      coalesce(avg(p.avg_cpu_utilization), 0) as cpu, coalesce(avg(p.avg_memory_utilization), 0) as memory,
      coalesce(max(coalesce(p.max_cpu_utilization, p.avg_cpu_utilization)), 0) as max_cpu,
      coalesce(max(coalesce(p.max_memory_utilization, p.avg_memory_utilization)), 0) as max_memory
    from autoscaler.pools p join autoscaler.nodes n on n.id = p.node_id
    where p.is_active and n.status in ('ACTIVE', 'ERROR') and n.deleted_at is null
  ), peaks as (
    select max(a.total_current_instances) as instances, max(a.total_active_pools) as pools
    from autoscaler.system_analytics a, minute
    where a.timestamp > minute.at - interval '24 hours' and a.timestamp <= minute.at
  )
  insert into autoscaler.system_analytics (timestamp, total_active_pools, total_current_instances,
    total_active_instances, avg_system_cpu, avg_system_memory, max_system_cpu, max_system_memory, peak_instances_24h,
    max_active_pools_24h, active_nodes)
  select minute.at, p.total, p.current_instances, p.active_instances, p.cpu, p.memory, p.max_cpu, p.max_memory,
    greatest(peaks.instances, p.current_instances), greatest(peaks.pools, p.total),
    (select count(*) from autoscaler.nodes where status = 'ACTIVE' and deleted_at is null)
  from minute, pools p, peaks
  on conflict (timestamp) do nothing
$$;

-- Writes into pools how many instances their node's schedules ask for now, within the pool's limits; null without one.
-- Returns how many pools changed.
create or replace function autoscaler.apply_schedules() returns integer
language plpgsql
as $$
declare
  clock constant text := to_char(public.fleet_now() at time zone 'UTC', 'HH24:MI');
  changed integer;
begin
  with wanted as (
    select p.id, (
      select greatest(p.min_instances, least(p.max_instances, max(s.target_instances)))
      from autoscaler.schedules s
      where s.node_id = p.node_id and s.is_active
        and case when s.start_time = s.end_time then true
          when s.start_time < s.end_time then clock >= s.start_time and clock < s.end_time
          else clock >= s.start_time or clock < s.end_time end
      having count(*) > 0
    ) as target
    from autoscaler.pools p
    where p.target_instances is not null
      or exists (select from autoscaler.schedules s where s.node_id = p.node_id and s.is_active)
    order by p.id
    for no key update of p skip locked
  )
  update autoscaler.pools p set target_instances = w.target
  from wanted w where p.id = w.id and p.target_instances is distinct from w.target;
  get diagnostics changed = row_count;
  return changed;
end
$$;

insert into public.periodic (name, queue, message, every) values
  ('heartbeat.sweep', 'node_heartbeats', '{"action": "sweep"}', '15 seconds'),
  ('heartbeat.roll_up', 'node_heartbeats', '{"action": "roll_up"}', '60 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
