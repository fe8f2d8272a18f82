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
-- was. A node that an operator set aside (maintenance, decommissioning) is heard, and stays where it is. It may be
-- silent for so many intervals of its cluster. Called by the heartbeat worker.
create or replace function clusters.take_heartbeats(
  beats jsonb, skip_held boolean default false, heard timestamptz[] default null, intervals float8 default 3)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  fleet_time constant timestamptz := public.fleet_now();
  said clusters.heartbeat[];
  ours text[];
  fresh integer[];
begin
  select array_agg(row(b.place - 1, b.id, b.node_id, b.sent_at, b.status,
    nullif(b.error_message, ''), b.config_hash, b.cpu_usage_percent, b.memory_usage_percent,
    b.disk_usage_percent, b.load_average, coalesce(b.metrics, '{}') || coalesce(b.network, '{}'),
    least(b.heard_at, fleet_time), null)::clusters.heartbeat)
  into said
  from rows from (jsonb_to_recordset(beats) as (id uuid, node_id text, sent_at timestamptz, status text,
    error_message text, config_hash text, cpu_usage_percent float8, memory_usage_percent float8,
    disk_usage_percent float8, load_average float8, metrics jsonb, network jsonb), unnest(heard)) with ordinality
    b (id, node_id, sent_at, status, error_message, config_hash, cpu_usage_percent, memory_usage_percent,
      disk_usage_percent, load_average, metrics, network, heard_at, place);

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

  fresh := public.count_heartbeats(array(select s.id from unnest(said) s), array(select s.sent_at from unnest(said) s),
    array(select s.place from unnest(said) s),
    -- `is true` keeps it out of a join: they are looked up in a hash.
    array(
      select r.id from clusters.cluster_nodes n cross join lateral unnest(n.recent_ids) as r (id)
      where n.node_id = any (ours) and (r.id in (select s.id from unnest(said) s)) is true));
  if cardinality(fresh) < cardinality(said) then
    return query select s.place, 'done', 'counted before' from unnest(said) s where not s.place = any (fresh);
    select array_agg(s order by s.place) into said from unnest(said) s where s.place = any (fresh);
  end if;
  if said is null then
    return;
  end if;

  with known as (
    select public.order_heartbeats(array_agg(s.place), array_agg(s.node_id), array_agg(s.sent_at),
      array_agg(s.heard_at), array_agg(n.report_sent_at), array_agg(n.report_heard_at),
      array_agg(clusters.silence_of(c.config, intervals) / 2)) as o
    from unnest(said) s
    join clusters.cluster_nodes n on n.node_id = s.node_id
    join clusters.clusters c on c.cluster_id = n.cluster_id
  )
  select array_agg(row(s.place, s.id, s.node_id, s.sent_at, s.status, s.error_message, s.config_hash, s.cpu, s.memory,
    s.disk, s.load_average, s.metrics, s.heard_at, (k.o).turn)::clusters.heartbeat order by s.place)
  into said
  from known k join unnest(said) s on s.place = (k.o).place;

  insert into clusters.cluster_metrics (cluster_id, node_id, metrics, timestamp)
  select n.cluster_id, s.node_id, jsonb_strip_nulls(s.metrics || jsonb_build_object(
    'cpu_usage_percent', s.cpu, 'memory_usage_percent', s.memory, 'disk_usage_percent', s.disk,
    'load_average', s.load_average)), greatest(s.heard_at, fleet_time - interval '1 day')
  from unnest(said) s join clusters.cluster_nodes n on n.node_id = s.node_id;
  return query select * from clusters.take_reports(said, heard is not null);
end
$$;

-- What some heartbeats say of their nodes, as autoscaler.take_reports has it, and of their clusters. Called by
-- clusters.take_heartbeats.
create or replace function clusters.take_reports(said clusters.heartbeat[], tell_skew boolean)
returns table (place integer, verdict text, reason text)
language plpgsql
as $$
#variable_conflict use_column
declare
  odd text[];
  changed text[];
  of_cluster text;
begin
  -- The clocks that may have to be told of after these heartbeats, and were not before: mostly none.
  odd := array(
    select distinct s.node_id from unnest(said) s
    where tell_skew and public.is_far_off(extract(epoch from s.heard_at - s.sent_at)::float8));
  if odd <> '{}' then
    odd := array(
      select node_id from clusters.cluster_nodes where node_id = any (odd) and not public.tells_skew(skews));
  end if;

  -- A row for each node: its newest report (turn 1), or where all came late one of them (turn null). Changed are the
  -- clusters of which a node's status or health is another than before.
  with report as (
    select distinct on (s.node_id) s.node_id, s.turn, max(s.heard_at) over of_node as last_heard_at,
      array_agg(extract(epoch from s.heard_at - s.sent_at)::real) over of_node as skews,
      array_agg(s.id) over of_node as ids,
      s.sent_at, s.heard_at, s.status as said_status, s.error_message, s.config_hash,
      coalesce(s.cpu, n.cpu_usage_percent) as cpu, coalesce(s.memory, n.memory_usage_percent) as memory,
      coalesce(s.disk, n.disk_usage_percent) as disk, s.load_average, s.metrics,
      n.status as was_status, n.health_status as was_health,
      case
        when n.status in ('maintenance', 'decommissioning') then n.status
        -- Heard well before it was marked: it says nothing of how the node is now.
        when n.status = 'offline' and s.heard_at < least(n.status_since, public.fleet_now())
          - clusters.silence_of(c.config, 1) then n.status
        when autoscaler.tells_error(s.status, s.error_message) then 'error'
        else 'online'
      end as new_status
    from unnest(said) s
    join clusters.cluster_nodes n on n.node_id = s.node_id
    join clusters.clusters c on c.cluster_id = n.cluster_id
    window of_node as (
      partition by s.node_id order by s.place desc rows between unbounded preceding and unbounded following)
    order by s.node_id, s.turn
  ), alive as (
    update clusters.cluster_nodes n set
      last_heartbeat = greatest(public.heard_at(n.last_heartbeat, null), r.last_heard_at),
      skews = (r.skews || n.skews)[:10],
      recent_ids = (r.ids || n.recent_ids)[:10]
    from report r
    where n.node_id = any (array(select s.node_id from unnest(said) s)) and n.node_id = r.node_id and r.turn is null
  ), taken as (
    update clusters.cluster_nodes n set
      last_heartbeat = greatest(public.heard_at(n.last_heartbeat, null), r.last_heard_at),
      skews = (r.skews || n.skews)[:10],
      recent_ids = (r.ids || n.recent_ids)[:10],
      report_sent_at = r.sent_at,
      report_heard_at = r.heard_at,
      status = r.new_status,
      status_reason = case when n.status = r.new_status then n.status_reason
        else left(coalesce(r.error_message, 'it reports: ' || r.said_status), 1000) end,
      health_status = clusters.node_health(r.cpu, r.memory, r.disk),
      cpu_usage_percent = r.cpu,
      memory_usage_percent = r.memory,
      disk_usage_percent = r.disk,
      load_average = coalesce(r.load_average, n.load_average),
      metrics = case when r.metrics = '{}' then n.metrics else r.metrics end,
      config_hash = coalesce(r.config_hash, n.config_hash),
      error_message = r.error_message
    from report r
    where n.node_id = any (array(select s.node_id from unnest(said) s)) and n.node_id = r.node_id and r.turn is not null
    returning n.cluster_id, (r.was_status, r.was_health) is distinct from (n.status, n.health_status) as changed
  )
  select array_agg(distinct cluster_id order by cluster_id) into changed from taken where taken.changed;

  foreach of_cluster in array coalesce(changed, '{}') loop
    perform clusters.assess(of_cluster);
  end loop;

  if odd <> '{}' then
    return query
      select max(s.place), 'skew', format('its clock is %s', public.skew_in_words(n.skews))
      from unnest(said) s join clusters.cluster_nodes n on n.node_id = s.node_id
      where n.node_id = any (odd) and public.tells_skew(n.skews)
      group by n.node_id;
  end if;
end
$$;
