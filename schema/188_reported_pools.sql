-- 188: what heartbeats say of pools.

-- The pools of some heartbeats: as last reported into pools, all of them into pool_analytics. A heartbeat that came
-- late changes no pool that is known. A pool that belongs to another node is refused, and the rest kept; that of a
-- deleted node passes to who reports it. A node has a thousand at the most. With skip_held a pool that somebody has in an
-- open transaction keeps what it said before. Called by autoscaler.take_heartbeats.
create or replace function autoscaler.take_pools(said autoscaler.heartbeat[], skip_held boolean)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  named constant text[] := array(
    select distinct p ->> 'oracle_pool_id' from unnest(said) s cross join lateral jsonb_array_elements(s.pools) p);
  held text[] := '{}';
  most constant integer := 1000;
  written bigint;
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
  else
    perform from autoscaler.pools where oracle_pool_id = any (named) order by oracle_pool_id for no key update;
  end if;
  -- Known pools are updated, and only others inserted: an upsert takes a number of the sequence for each repeat, too.
  with reported as materialized (
    select distinct on (p.oracle_pool_id)
      s.node_id, p.oracle_pool_id, n.region, p.current_instances, coalesce(p.pool_status, 'healthy') as status,
      coalesce(p.is_active, true) as is_active, s.heard_at, p.active_instances, p.avg_cpu_utilization,
      p.avg_memory_utilization, p.max_cpu_utilization, p.max_memory_utilization, owned.id as known_id
    from unnest(said) s
    join autoscaler.nodes n on n.id = s.node_id
    cross join lateral jsonb_to_recordset(s.pools) p (oracle_pool_id text, current_instances integer,
      active_instances integer, avg_cpu_utilization float8, avg_memory_utilization float8, max_cpu_utilization float8,
      max_memory_utilization float8, pool_status autoscaler.pool_status, is_active boolean)
    left join autoscaler.pools owned on owned.oracle_pool_id = p.oracle_pool_id
    where not p.oracle_pool_id = any (held) and (s.turn is not null or owned.id is null)
    order by p.oracle_pool_id, (owned.node_id = s.node_id) desc nulls last, s.turn, s.place
  ), new_pools as (
    insert into autoscaler.pools (node_id, oracle_pool_id, name, region, current_instances, status, is_active,
      last_reported_at, active_instances, avg_cpu_utilization, avg_memory_utilization, max_cpu_utilization,
      max_memory_utilization)
    select node_id, oracle_pool_id, oracle_pool_id, region, current_instances, status, is_active, heard_at,
      active_instances, avg_cpu_utilization, avg_memory_utilization, max_cpu_utilization, max_memory_utilization
    from (
      select r.*, row_number() over (partition by r.node_id order by r.oracle_pool_id)
        + (select count(*) from autoscaler.pools p where p.node_id = r.node_id) as number
      from reported r where r.known_id is null
    ) r
    where number <= most
    order by oracle_pool_id
    on conflict (oracle_pool_id) do nothing
  )
  update autoscaler.pools known set
    node_id = r.node_id,
    current_instances = r.current_instances,
    status = r.status,
    is_active = r.is_active and not known.switched_off,
    last_reported_at = r.heard_at,
    active_instances = r.active_instances,
    avg_cpu_utilization = r.avg_cpu_utilization,
    avg_memory_utilization = r.avg_memory_utilization,
    max_cpu_utilization = r.max_cpu_utilization,
    max_memory_utilization = r.max_memory_utilization
  from reported r
  where known.id = r.known_id and (
    known.node_id = r.node_id
    or exists (select from autoscaler.nodes o where o.id = known.node_id and o.deleted_at is not null));

  insert into autoscaler.pool_analytics (pool_id, node_id, oracle_pool_id, timestamp, current_instances,
    active_instances, avg_cpu_utilization, avg_memory_utilization, max_cpu_utilization, max_memory_utilization,
    pool_status, is_active, scaling_event, scaling_reason)
  select known.id, s.node_id, p.oracle_pool_id, autoscaler.measured_at(s.heard_at), p.current_instances,
    p.active_instances,
    p.avg_cpu_utilization, p.avg_memory_utilization, p.max_cpu_utilization, p.max_memory_utilization,
    coalesce(p.pool_status, 'healthy'), coalesce(p.is_active, true), p.scaling_event, p.scaling_reason
  from unnest(said) s
  cross join lateral jsonb_to_recordset(s.pools) p (oracle_pool_id text, current_instances integer,
    active_instances integer, avg_cpu_utilization float8, avg_memory_utilization float8, max_cpu_utilization float8,
    max_memory_utilization float8, pool_status text, is_active boolean, scaling_event text, scaling_reason text)
  join autoscaler.pools known on known.oracle_pool_id = p.oracle_pool_id and known.node_id = s.node_id;
  get diagnostics written = row_count;
  if written = (select sum(jsonb_array_length(s.pools)) from unnest(said) s) then
    return;
  end if;

  -- One word for each heartbeat, however many of its pools are refused.
  return query
    select r.place, 'note', min(r.why) || case when count(*) > 1 then format(' (and %s more)', count(*) - 1) else '' end
    from (
      select s.place, case when known.id is null then format('pool %s is one too many: a node has %s', p.oracle_pool_id, most)
        else format('pool %s belongs to node %s', p.oracle_pool_id, known.node_id) end as why
      from unnest(said) s
      cross join lateral jsonb_to_recordset(s.pools) p (oracle_pool_id text)
      left join autoscaler.pools known on known.oracle_pool_id = p.oracle_pool_id
      where known.node_id is distinct from s.node_id
    ) r
    group by r.place;
end
$$;
