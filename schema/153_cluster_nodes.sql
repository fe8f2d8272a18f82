-- 153: what people and services call to add nodes to clusters and to say how they are (document 004). Events and
-- errors as in 152.

-- The id of a node's cluster; PF008 where there is no such node. Called by the functions that are given a node.
create or replace function clusters.cluster_of(wanted_node text) returns text
language plpgsql stable
as $$
declare
  found_cluster text;
begin
  select cluster_id into found_cluster from clusters.cluster_nodes where node_id = wanted_node;
  if found_cluster is null then
    raise exception 'there is no cluster node %', coalesce(wanted_node, 'null') using errcode = 'PF008';
  end if;
  return found_cluster;
end
$$;

-- Adds a node, provisioning, unless the cluster has as many as it may have (PF007). Returns its id. Called by
-- operators and services (document 004).
create or replace function clusters.add_cluster_node(
  p_cluster_id text,
  p_name text,
  p_region text default null,
  p_availability_zone text default null,
  p_hostname text default null,
  p_ip_address text default null,
  p_capacity_cpu float8 default null,
  p_capacity_memory_gb float8 default null,
  p_capacity_storage_gb float8 default null,
  p_capacity_network_mbps float8 default null,
  p_roles text[] default '{worker}',
  p_priority integer default 50,
  p_epoch bigint default null) returns text
language plpgsql
as $$
declare
  cluster constant clusters.clusters := clusters.lock_cluster(p_cluster_id, p_epoch);
  number constant integer := cluster.last_node_number + 1;
  new_id constant text := format('node-%s-%s-%s',
    substring(p_cluster_id from '^cluster-(.{8}-[0-9]{4}-[0-9]{2}-[0-9]{2})'), number, clusters.random_word());
  nodes integer;
begin
  if cluster.status = 'decommissioning' then
    raise exception 'cluster % is being decommissioned', p_cluster_id using errcode = 'PF006';
  end if;
  select total into nodes from clusters.cluster_health where cluster_id = p_cluster_id;
  if nodes >= cluster.max_nodes then
    raise exception 'cluster % has % nodes, and may have %', p_cluster_id, nodes, cluster.max_nodes
      using errcode = 'PF007', hint = 'Decommission a node, or raise max_nodes.';
  end if;
  update clusters.clusters set last_node_number = number where cluster_id = p_cluster_id;
  insert into clusters.cluster_nodes (
    node_id, cluster_id, node_number, name, region, availability_zone, hostname, ip_address, capacity_cpu,
    capacity_memory_gb, capacity_storage_gb, capacity_network_mbps, roles, priority, status_reason)
  values (new_id, p_cluster_id, number, p_name, coalesce(p_region, cluster.region), p_availability_zone, p_hostname,
    p_ip_address, p_capacity_cpu, p_capacity_memory_gb, p_capacity_storage_gb, p_capacity_network_mbps,
    coalesce(p_roles, '{worker}'), coalesce(p_priority, 50), 'add_cluster_node');
  insert into clusters.cluster_events (cluster_id, node_id, event_type, message, details, epoch)
  values (p_cluster_id, new_id, 'NODE_ADDED', format('%s was added', p_name),
    jsonb_build_object('node_number', number, 'roles', p_roles), cluster.epoch);
  perform clusters.assess(p_cluster_id);
  return new_id;
end
$$;

-- Says how a node is. What is not given stays; without p_health_status the metrics decide. Returns the node. Called
-- by operators and services (document 004).
create or replace function clusters.update_node_status(
  p_node_id text,
  p_status text default null,
  p_health_status text default null,
  p_metrics jsonb default '{}',
  p_epoch bigint default null) returns jsonb
language plpgsql
as $$
declare
  of_cluster constant text := clusters.cluster_of(p_node_id);
  cluster constant clusters.clusters := clusters.lock_cluster(of_cluster, p_epoch);
  given constant jsonb := coalesce(p_metrics, '{}');
  own constant text[] := '{cpu_usage_percent,memory_usage_percent,disk_usage_percent,load_average}';
  key text;
  before clusters.cluster_nodes;
  node clusters.cluster_nodes;
begin
  if jsonb_typeof(given) <> 'object' then
    perform public.refuse_value('p_metrics', jsonb_typeof(given), 'a JSON object');
  end if;
  foreach key in array own loop
    if given ? key and jsonb_typeof(given -> key) not in ('number', 'null') then
      perform public.refuse_value(key, given ->> key, 'a number');
    end if;
  end loop;
  select * into before from clusters.cluster_nodes where node_id = p_node_id;
  update clusters.cluster_nodes n set
    status = coalesce(p_status, n.status),
    status_reason = 'update_node_status',
    -- A caller that measures it, or says that it runs, has heard from it.
    last_heartbeat = case when given <> '{}' or p_status in ('online', 'error')
      then greatest(n.last_heartbeat, public.fleet_now()) else n.last_heartbeat end,
    cpu_usage_percent = coalesce((given ->> 'cpu_usage_percent')::float8, n.cpu_usage_percent),
    memory_usage_percent = coalesce((given ->> 'memory_usage_percent')::float8, n.memory_usage_percent),
    disk_usage_percent = coalesce((given ->> 'disk_usage_percent')::float8, n.disk_usage_percent),
    load_average = coalesce((given ->> 'load_average')::float8, n.load_average),
    metrics = n.metrics || (given - own),
    health_status = coalesce(p_health_status, clusters.node_health(
      coalesce((given ->> 'cpu_usage_percent')::float8, n.cpu_usage_percent),
      coalesce((given ->> 'memory_usage_percent')::float8, n.memory_usage_percent),
      coalesce((given ->> 'disk_usage_percent')::float8, n.disk_usage_percent)))
  where n.node_id = p_node_id
  returning * into node;
  insert into clusters.cluster_events (cluster_id, node_id, event_type, severity, message, details, epoch)
  values (node.cluster_id, p_node_id, 'NODE_UPDATED', case
      when (node.status, node.health_status) = (before.status, before.health_status) then 'debug'
      when node.health_status = 'critical' then 'error'
      when node.health_status = 'warning' then 'warning'
      else 'info' end,
    format('%s is %s and %s', node.name, node.status, node.health_status), given, cluster.epoch);
  perform clusters.assess(of_cluster);
  return to_jsonb(node);
end
$$;

-- Writes measurements down, of a cluster or of one of its nodes. Returns their id. Called by operators and services
-- (document 004).
create or replace function clusters.record_cluster_metrics(
  p_cluster_id text,
  p_node_id text default null,
  p_metrics jsonb default '{}',
  p_epoch bigint default null) returns bigint
language plpgsql
as $$
declare
  cluster constant clusters.clusters := clusters.lock_cluster(p_cluster_id, p_epoch);
  new_id bigint;
begin
  if p_node_id is not null and clusters.cluster_of(p_node_id) <> p_cluster_id then
    raise exception 'node % is not of cluster %', p_node_id, p_cluster_id using errcode = 'PF008';
  end if;
  insert into clusters.cluster_metrics (cluster_id, node_id, metrics, timestamp)
  values (p_cluster_id, p_node_id, coalesce(p_metrics, '{}'), public.fleet_now())
  returning metric_id into new_id;
  insert into clusters.cluster_events (cluster_id, node_id, event_type, severity, message, epoch)
  values (p_cluster_id, p_node_id, 'METRICS_RECORDED', 'debug', 'metrics were recorded', cluster.epoch);
  return new_id;
end
$$;
