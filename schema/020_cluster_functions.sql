-- 020: what people and services call about clusters (document 004), with the arguments it prints. Every call leaves a
-- row in cluster_events; one that changes nothing but measurements, or only reads, leaves it with severity debug,
-- which get_cluster_events shows only when asked for and which is kept for a day (022).
--
-- Errors: PF004 a value that can't be, PF006 still in use, PF007 full, PF008 no such cluster, node or template,
-- PF009 an old epoch, PF010 not fit to lead.

-- The measure of a node: 'healthy', 'warning', 'critical'; 'unknown' where nothing was measured. Thresholds, warning
-- and critical: CPU 70 and 90 %, memory 80 and 90, disk 80 and 95; the worst wins.
create or replace function clusters.node_health(cpu float8, memory float8, disk float8) returns text
language sql immutable parallel safe
as $$
  select case
    when cpu >= 90 or memory >= 90 or disk >= 95 then 'critical'
    when cpu >= 70 or memory >= 80 or disk >= 80 then 'warning'
    when cpu is null and memory is null and disk is null then 'unknown'
    else 'healthy'
  end
$$;

-- 0 to 1; an empty cluster is 0.
create or replace function clusters.score(
  total bigint, healthy bigint, warning bigint, critical bigint, offline bigint) returns float8
language sql immutable parallel safe
as $$
  select case when total = 0 then 0 else greatest(0, least(1,
    (healthy - 0.1 * warning - 0.3 * critical - 0.5 * offline)::float8 / total)) end
$$;

-- What a score makes of a cluster that no operator has set aside.
create or replace function clusters.status_of(score float8) returns text
language sql immutable parallel safe
as $$
  select case when score >= 0.9 then 'active' when score >= 0.7 then 'degraded' when score >= 0.3 then 'maintenance'
    else 'offline' end
$$;

-- One row per cluster: its nodes counted, and the score they make. Only online nodes are healthy, warning or critical;
-- nodes that are being taken away don't count.
create or replace view clusters.cluster_health as
select c.cluster_id, n.*, clusters.score(n.total, n.healthy, n.warning, n.critical, n.offline) as score
from clusters.clusters c
cross join lateral (
  select
    count(*) as total,
    count(*) filter (where status = 'online') as online,
    count(*) filter (where status = 'online' and health_status = 'healthy') as healthy,
    count(*) filter (where status = 'online' and health_status = 'warning') as warning,
    count(*) filter (where status = 'online' and health_status = 'critical') as critical,
    count(*) filter (where status = 'offline') as offline
  from clusters.cluster_nodes
  where cluster_id = c.cluster_id and deleted_at is null and status <> 'decommissioning'
) n;

-- What a person should do about it, as a JSON array of sentences.
create or replace function clusters.recommendations(of_cluster text) returns jsonb
language sql stable
as $$
  select coalesce(jsonb_agg(advice order by node_number, sort), '[]')
  from clusters.cluster_nodes n
  cross join lateral (values
    (1, cpu_usage_percent > 80, format('%s: CPU at %s %%: move work away or add CPU', name, cpu_usage_percent)),
    (2, memory_usage_percent > 85, format('%s: memory at %s %%: add memory', name, memory_usage_percent)),
    (3, disk_usage_percent > 90, format('%s: disk at %s %%: free or add storage', name, disk_usage_percent)),
    (4, status = 'offline', format('%s is offline since %s UTC: look at the machine', name,
      to_char(status_since at time zone 'UTC', 'YYYY-MM-DD HH24:MI'))),
    (5, status = 'error', format('%s reports: %s', name, coalesce(error_message, 'an error')))
  ) a (sort, holds, advice)
  where n.cluster_id = of_cluster and n.deleted_at is null and n.status <> 'decommissioning' and a.holds
$$;

-- Eight letters and digits.
create or replace function clusters.random_word() returns text
language sql volatile
as $$
  select string_agg(substr('abcdefghijklmnopqrstuvwxyz0123456789', 1 + floor(random() * 36)::integer, 1), '')
  from generate_series(1, 8)
$$;

-- Leaves the trace of a call that only reads, wherever that may be written (not on a standby).
create or replace function clusters.note_read(of_cluster text, called text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_read_only') = 'off' then
    insert into clusters.cluster_events (cluster_id, event_type, severity, message, triggered_by)
    values (of_cluster, 'READ', 'debug', called, session_user);
  end if;
end
$$;

revoke execute on function clusters.note_read(text, text) from public;

-- The cluster, locked; PF008 where there is none, PF009 where the caller knows another epoch than it is at.
create or replace function clusters.lock_cluster(wanted text, known_epoch bigint default null)
returns clusters.clusters
language plpgsql
as $$
declare
  cluster clusters.clusters;
begin
  select * into cluster from clusters.clusters where cluster_id = wanted for no key update;
  if not found then
    raise exception 'there is no cluster %', coalesce(wanted, 'null') using errcode = 'PF008';
  end if;
  if known_epoch <> cluster.epoch then
    raise exception 'cluster % is at epoch %; the caller knows only epoch %', wanted, cluster.epoch, known_epoch
      using errcode = 'PF009',
        hint = 'It was led by somebody else in between: stop writing, and read the cluster again.';
  end if;
  return cluster;
end
$$;

-- The id of a node's cluster; PF008 where there is no such node.
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

-- Brings a cluster to what its nodes say: score, status, leaders; the caller holds its lock (lock_cluster). A status
-- that an operator set stays; a new cluster is initializing until its first node is online. A leader that is offline
-- or critical is replaced, under the next epoch, by the node of the highest priority, then the best health, then the
-- lowest id; the coordinator is another node than the primary where there is one. No candidate: a critical event,
-- once, and nothing changes. Whoever led before comes back as an ordinary node. preferred leads instead, if it may.
create or replace function clusters.assess(wanted text, preferred text default null) returns void
language plpgsql
as $$
declare
  cluster clusters.clusters;
  health clusters.cluster_health;
  fit text[];
  new_status text;
  new_primary text;
  new_coordinator text;
  reason_before constant text := coalesce(current_setting('pgfleet.reason', true), '');
begin
  select * into cluster from clusters.clusters where cluster_id = wanted;
  if cluster.status = 'decommissioning' then
    return;
  end if;
  select * into health from clusters.cluster_health where cluster_id = wanted;
  select coalesce(array_agg(node_id order by priority desc,
    array_position('{healthy,warning,unknown}', health_status), node_id), '{}') into fit
  from clusters.cluster_nodes
  where cluster_id = wanted and status = 'online' and health_status <> 'critical' and deleted_at is null;

  new_status := case
    when cluster.operator_status or (cluster.status = 'initializing' and health.online = 0) then cluster.status
    else clusters.status_of(health.score)
  end;
  new_primary := case when preferred = any (fit) then preferred
    when cluster.primary_node_id = any (fit) then cluster.primary_node_id
    else coalesce(fit[1], cluster.primary_node_id) end;
  new_coordinator := case
    when cluster.coordinator_node_id = any (array_remove(fit, new_primary)) then cluster.coordinator_node_id
    else coalesce((array_remove(fit, new_primary))[1], fit[1], cluster.coordinator_node_id)
  end;
  if cluster.primary_node_id is not null and fit = '{}' and not cluster.leaderless then
    insert into clusters.cluster_events (cluster_id, node_id, event_type, severity, message, epoch)
    values (wanted, cluster.primary_node_id, 'NO_CANDIDATE', 'critical',
      format('%s has no node that could lead it', cluster.name), cluster.epoch);
  end if;

  -- Nobody's hand moves it, whoever called; and that is the reason.
  perform set_config('pgfleet.by_health', 'on', true),
    set_config('pgfleet.reason', format('health score %s', round(health.score::numeric, 2)), true);
  update clusters.clusters set
    leaderless = cluster.primary_node_id is not null and fit = '{}',
    health_score = health.score,
    status = new_status,
    status_reason = case when new_status = cluster.status then status_reason
      else format('health score %s', round(health.score::numeric, 2)) end,
    primary_node_id = new_primary,
    coordinator_node_id = new_coordinator
  where cluster_id = wanted
    and (health_score, status, primary_node_id, coordinator_node_id, leaderless) is distinct from
      (health.score, new_status, new_primary, new_coordinator, cluster.primary_node_id is not null and fit = '{}');
  perform set_config('pgfleet.by_health', '', true), set_config('pgfleet.reason', reason_before, true);
end
$$;

-- Makes a cluster; limits that are not given are the template's. Returns its id.
create or replace function clusters.create_cluster(
  p_name text,
  p_description text default null,
  p_region text default null,
  p_config jsonb default '{}',
  p_max_nodes integer default null,
  p_max_tenants integer default null,
  p_max_storage_gb integer default null,
  p_template text default 'development') returns text
language plpgsql
as $$
declare
  template clusters.cluster_config_templates;
  new_id text;
begin
  select * into template from clusters.cluster_config_templates where name = p_template;
  if not found then
    raise exception 'there is no template %', coalesce(p_template, 'null')
      using errcode = 'PF008', hint = 'select name from clusters.cluster_config_templates';
  end if;
  if p_config ? 'healthCheckInterval' and not coalesce(
    jsonb_typeof(p_config -> 'healthCheckInterval') = 'number'
    and (p_config ->> 'healthCheckInterval')::numeric between 1 and 86400, false)
  then
    perform public.refuse_value('healthCheckInterval', p_config ->> 'healthCheckInterval', '1 to 86400 seconds');
  end if;
  loop
    new_id := format('cluster-%s-%s-%s', clusters.random_word(),
      to_char(public.fleet_now() at time zone 'UTC', 'YYYY-MM-DD-HH24-MI-SS'), clusters.random_word());
    exit when not exists (select from clusters.clusters where cluster_id = new_id);
  end loop;
  insert into clusters.clusters (
    cluster_id, name, description, region, config, max_nodes, max_tenants, max_storage_gb, status_reason)
  values (new_id, p_name, p_description, p_region, template.config || coalesce(p_config, '{}'),
    coalesce(p_max_nodes, template.max_nodes), coalesce(p_max_tenants, template.max_tenants),
    coalesce(p_max_storage_gb, template.max_storage_gb), 'create_cluster');
  insert into clusters.cluster_events (cluster_id, event_type, message, details)
  values (new_id, 'CLUSTER_CREATED', format('%s was created', p_name), jsonb_build_object('template', p_template));
  return new_id;
end
$$;

-- Adds a node, provisioning, unless the cluster has as many as it may have (PF007). Returns its id.
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
    substring(p_cluster_id from '^cluster-(.{8}-\d{4}-\d\d-\d\d)'), number, clusters.random_word());
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

-- Says how a node is. What is not given stays; without p_health_status the metrics decide. Returns the node.
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
    -- Whoever measures it, or says that it runs, has heard of it.
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

-- Makes an online node that is not critical the primary of its cluster, under the next epoch; PF010 for any other.
-- Already primary: nothing changes. Returns {cluster_id, primary_node_id, previous_primary_node_id, epoch}.
create or replace function clusters.promote_to_primary(p_node_id text, p_epoch bigint default null) returns jsonb
language plpgsql
as $$
declare
  of_cluster constant text := clusters.cluster_of(p_node_id);
  cluster constant clusters.clusters := clusters.lock_cluster(of_cluster, p_epoch);
  epoch_now bigint;
  node clusters.cluster_nodes;
begin
  select * into node from clusters.cluster_nodes where node_id = p_node_id;
  if node.status <> 'online' or node.health_status = 'critical' or node.deleted_at is not null then
    raise exception 'node % is % and %: it can''t be primary', p_node_id, node.status, node.health_status
      using errcode = 'PF010', hint = 'Only a node that is online and not critical can lead.';
  end if;
  perform clusters.assess(of_cluster, p_node_id);
  select epoch into epoch_now from clusters.clusters where cluster_id = of_cluster;
  insert into clusters.cluster_events (cluster_id, node_id, event_type, message, details, epoch)
  values (of_cluster, p_node_id, 'PROMOTED', format('%s is primary', node.name),
    jsonb_build_object('previous', cluster.primary_node_id), epoch_now);
  return jsonb_build_object('cluster_id', of_cluster, 'primary_node_id', p_node_id,
    'previous_primary_node_id', cluster.primary_node_id, 'epoch', epoch_now);
end
$$;

-- Takes a cluster out of use for good. While nodes or tenants remain it is refused (PF006) unless forced; then its
-- nodes go with it. Returns {cluster_id, status, nodes}: how many nodes went.
create or replace function clusters.decommission_cluster(
  p_cluster_id text, p_force boolean default false, p_epoch bigint default null) returns jsonb
language plpgsql
as $$
declare
  cluster constant clusters.clusters := clusters.lock_cluster(p_cluster_id, p_epoch);
  nodes integer;
begin
  select total into nodes from clusters.cluster_health where cluster_id = p_cluster_id;
  if (nodes > 0 or cluster.current_tenants > 0) and not coalesce(p_force, false) then
    raise exception 'cluster % still has % nodes and % tenants', p_cluster_id, nodes, cluster.current_tenants
      using errcode = 'PF006', hint = 'Move them away first, or decommission_cluster(id, true).';
  end if;
  update clusters.cluster_nodes
  set status = 'decommissioning', status_reason = 'decommission_cluster', deleted_at = public.fleet_now()
  where cluster_id = p_cluster_id and deleted_at is null;
  update clusters.clusters
  set status = 'decommissioning', status_reason = 'decommission_cluster', primary_node_id = null,
    coordinator_node_id = null
  where cluster_id = p_cluster_id;
  insert into clusters.cluster_events (cluster_id, event_type, severity, message, details)
  values (p_cluster_id, 'CLUSTER_DECOMMISSIONED', 'warning', format('%s was decommissioned', cluster.name),
    jsonb_build_object('forced', coalesce(p_force, false), 'nodes', nodes, 'tenants', cluster.current_tenants));
  return jsonb_build_object('cluster_id', p_cluster_id, 'status', 'decommissioning', 'nodes', nodes);
end
$$;

-- Writes measurements down, of a cluster or of one of its nodes. Returns their id.
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

-- One cluster as JSON, without a secret: its columns, health, recommendations, and nodes[] in order of their number.
create or replace function clusters.get_cluster_info(p_cluster_id text) returns jsonb
language plpgsql
as $$
declare
  info jsonb;
begin
  select to_jsonb(c) || jsonb_build_object(
    'health', to_jsonb(h) - 'cluster_id',
    'recommendations', clusters.recommendations(c.cluster_id),
    'nodes', (
      select coalesce(jsonb_agg(to_jsonb(n) || jsonb_build_object(
        'is_primary', n.node_id is not distinct from c.primary_node_id,
        'is_coordinator', n.node_id is not distinct from c.coordinator_node_id) order by n.node_number), '[]')
      from clusters.cluster_nodes n where n.cluster_id = c.cluster_id and n.deleted_at is null))
  into info
  from clusters.clusters c join clusters.cluster_health h using (cluster_id)
  where c.cluster_id = p_cluster_id;
  if info is null then
    raise exception 'there is no cluster %', coalesce(p_cluster_id, 'null') using errcode = 'PF008';
  end if;
  perform clusters.note_read(p_cluster_id, 'get_cluster_info');
  return info;
end
$$;

-- The health of one cluster, or of all that are not decommissioned: {total_clusters, average_score, clusters[]}.
create or replace function clusters.get_cluster_health_summary(p_cluster_id text default null) returns jsonb
language plpgsql
as $$
declare
  summary jsonb;
begin
  if p_cluster_id is not null and not exists (select from clusters.clusters where cluster_id = p_cluster_id) then
    raise exception 'there is no cluster %', p_cluster_id using errcode = 'PF008';
  end if;
  select jsonb_build_object(
    'total_clusters', count(*),
    'average_score', coalesce(avg(h.score), 0),
    'clusters', coalesce(jsonb_agg(jsonb_build_object(
      'cluster_id', c.cluster_id, 'name', c.name, 'region', c.region, 'status', c.status,
      'health_score', h.score, 'health', clusters.status_of(h.score), 'total_nodes', h.total,
      'online_nodes', h.online, 'healthy_nodes', h.healthy, 'warning_nodes', h.warning,
      'critical_nodes', h.critical, 'offline_nodes', h.offline, 'primary_node_id', c.primary_node_id,
      'coordinator_node_id', c.coordinator_node_id, 'epoch', c.epoch,
      'recommendations', clusters.recommendations(c.cluster_id)) order by c.name, c.cluster_id), '[]'))
  into summary
  from clusters.clusters c join clusters.cluster_health h using (cluster_id)
  where case when p_cluster_id is null then c.status <> 'decommissioning' else c.cluster_id = p_cluster_id end;
  perform clusters.note_read(p_cluster_id, 'get_cluster_health_summary');
  return summary;
end
$$;

-- The newest events first; of all clusters and of every severity but debug unless said otherwise.
create or replace function clusters.get_cluster_events(
  p_cluster_id text default null,
  p_severity text default null,
  p_limit integer default 100) returns setof clusters.cluster_events
language plpgsql
as $$
begin
  if p_severity not in ('debug', 'info', 'warning', 'error', 'critical') then
    perform public.refuse_value('p_severity', p_severity, 'one of debug, info, warning, error, critical');
  end if;
  if p_limit < 0 then
    perform public.refuse_value('p_limit', p_limit::text, 'at least 0');
  end if;
  if p_cluster_id is not null and not exists (select from clusters.clusters where cluster_id = p_cluster_id) then
    raise exception 'there is no cluster %', p_cluster_id using errcode = 'PF008';
  end if;
  perform clusters.note_read(p_cluster_id, 'get_cluster_events');
  return query
    select * from clusters.cluster_events e
    where (p_cluster_id is null or e.cluster_id = p_cluster_id)
      and case when p_severity is null then e.severity <> 'debug' else e.severity = p_severity end
    order by e.created_at desc, e.event_id desc
    limit coalesce(p_limit, 100);
end
$$;
