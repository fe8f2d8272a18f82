-- 151: how a cluster is, by what its nodes say, and what follows from it: its score, its status, its leaders.

-- The measure of a node: 'healthy', 'warning', 'critical'; 'unknown' where nothing was measured. Thresholds, warning
-- and critical: CPU 70 and 90 %, memory 80 and 90, disk 80 and 95; the worst wins. Called by
-- clusters.take_heartbeats and update_node_status.
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

-- The score of a cluster by how many of its nodes are how, 0 to 1; an empty cluster is 0. Called by cluster_health.
create or replace function clusters.score(
  total bigint, healthy bigint, warning bigint, critical bigint, offline bigint) returns float8
language sql immutable parallel safe
as $$
  select case when total = 0 then 0 else greatest(0, least(1,
    (healthy - 0.1 * warning - 0.3 * critical - 0.5 * offline)::float8 / total)) end
$$;

-- What a score makes of a cluster that no operator has set aside. Called by assess and get_cluster_health_summary.
create or replace function clusters.status_of(score float8) returns text
language sql immutable parallel safe
as $$
  select case when score >= 0.9 then 'active' when score >= 0.7 then 'degraded' when score >= 0.3 then 'maintenance'
    else 'offline' end
$$;

-- One row per cluster: its nodes counted, and the score they make. Only online nodes are healthy, warning or
-- critical; nodes that are being taken away don't count. Read by the functions of clusters, and by people.
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

-- What a person should do about a cluster, as a JSON array of sentences. Called by the functions that read, and by
-- the console.
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

-- The nodes that could lead a cluster, the first of them before the others: online and not critical, by the highest priority,
-- then the best health, then the lowest id. Called by assess, and read by pages as the failover plan.
create or replace function clusters.fit_nodes(of_cluster text) returns text[]
language sql stable
as $$
  select coalesce(array_agg(node_id order by priority desc,
    array_position('{healthy,warning,unknown}', health_status), node_id), '{}')
  from clusters.cluster_nodes
  where cluster_id = of_cluster and status = 'online' and health_status <> 'critical' and deleted_at is null
$$;

-- Brings a cluster to what its nodes say: score, status, leaders; the caller holds its lock (lock_cluster). A status
-- that an operator set stays; a new cluster is initializing until its first node is online. A leader that is offline
-- or critical is replaced, under the next epoch, by the node of the highest priority, then the best health, then the
-- lowest id; the coordinator is another node than the primary where there is one. No candidate: a critical event,
-- once, and nothing changes. Whoever led before comes back as an ordinary node. preferred leads instead, if it may.
-- Called by whatever changes a node or a leader.
create or replace function clusters.assess(wanted text, preferred text default null) returns void
language plpgsql
as $$
declare
  cluster clusters.clusters;
  health clusters.cluster_health;
  fit constant text[] := clusters.fit_nodes(wanted);
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

  -- The health moves it, whoever called: it is no operator's doing, and the reason says so.
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
