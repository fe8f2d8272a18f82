-- 143: a whole claim of heartbeats of cluster nodes in one call.

-- How long a node of a cluster with this configuration may be silent: an interval between a second and a day,
-- whatever the configuration says. Called by clusters.take_heartbeats and clusters.sweep_offline.
create or replace function clusters.silence_of(config jsonb, intervals float8) returns interval
language sql immutable
as $$
  select make_interval(secs => intervals * case jsonb_typeof(config -> 'healthCheckInterval')
    when 'number' then greatest(1, least(86400, (config ->> 'healthCheckInterval')::numeric))::float8 else 30 end)
$$;

-- Takes heartbeats of cluster nodes; shapes as of autoscaler.take_heartbeats. What one does not measure stays as it
-- was. A node that an operator set aside (maintenance, decommissioning) is heard, and stays where it is. Called by
-- the heartbeat worker.
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

  -- Clusters before nodes, as every function of 152 and 153 locks them.
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
        -- Sent well before it was marked: it is late, and says nothing of how the node is now.
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
