-- 142: a whole claim of heartbeats of autoscaler nodes in one call. The worker (workers/heartbeat/machine.py) reads
-- and checks the messages, and calls it in the transaction that deletes them.

-- The unit of a metric, by the last word of its name. Called by autoscaler.take_heartbeats.
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
-- clock sets rows among those that are pruned already. Called by autoscaler.take_heartbeats and take_pools.
create or replace function autoscaler.measured_at(sent_at timestamptz) returns timestamp
language sql stable parallel safe
as $$ select greatest(sent_at, public.fleet_now() - interval '1 day') at time zone 'UTC' $$;

-- Answers a node that runs another configuration than it should, in the queue that it named, unless the same answer
-- is among the newest that wait there. Returns false where there is no such queue, or not for us: then the heartbeat
-- counts all the same. Called by tell_drift.
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

-- Takes heartbeats of autoscaler nodes, an array of messages as their JSON Schema has them. Returns a row for each
-- that is not simply counted, with its place in the array (from 0): 'wait' (its node is not known, yet), 'done' (a
-- deleted node, or counted before), 'note' (it counted, but part of it was refused), 'held' (somebody has its node
-- in an open transaction: to be taken later; only with skip_held, else the call waits). Called by the heartbeat
-- worker.
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
      -- Sent well before it was marked: it is late, and says nothing of how the node is now.
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
-- that somebody has in an open transaction keeps what it said before. Called by autoscaler.take_heartbeats.
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

-- Answers those of some heartbeats whose node should run another configuration. Called by
-- autoscaler.take_heartbeats.
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
    -- A late heartbeat says what the node ran before.
    and l.sent_at at time zone 'UTC' >= n.last_heartbeat
$$;
