-- 154: what people and services call to read about clusters (document 004). Every call leaves a row of severity
-- debug in cluster_events.

-- Leaves the trace of a call that only reads, wherever that may be written (not on a standby). Called by the
-- functions that read; whoever may, may give it any text.
create or replace function clusters.note_read(of_cluster text, called text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_read_only') = 'off' then
    insert into clusters.cluster_events (cluster_id, event_type, severity, message, triggered_by)
    values (of_cluster, 'READ', 'debug', left(called, 100), session_user);
  end if;
end
$$;

revoke execute on function clusters.note_read(text, text) from public;

-- One cluster as JSON, without a secret: its columns, health, recommendations, and nodes[] in order of their number; null
-- where there is none. Called by get_cluster_info, and by the API, whose looks leave no event.
create or replace function clusters.info_of(of_cluster text) returns jsonb
language sql stable
as $$
  select to_jsonb(c) || jsonb_build_object(
    'health', to_jsonb(h) - 'cluster_id',
    'recommendations', clusters.recommendations(c.cluster_id),
    'nodes', (
      select coalesce(jsonb_agg(to_jsonb(n) || jsonb_build_object(
        'is_primary', n.node_id is not distinct from c.primary_node_id,
        'is_coordinator', n.node_id is not distinct from c.coordinator_node_id) order by n.node_number), '[]')
      from clusters.cluster_nodes n where n.cluster_id = c.cluster_id and n.deleted_at is null))
  from clusters.clusters c join clusters.cluster_health h using (cluster_id)
  where c.cluster_id = of_cluster
$$;

-- The health of one cluster, or of all that are not decommissioned: {total_clusters, average_score, clusters[]}. Called by
-- get_cluster_health_summary and by the API.
create or replace function clusters.health_of(of_cluster text) returns jsonb
language sql stable
as $$
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
  from clusters.clusters c join clusters.cluster_health h using (cluster_id)
  where case when of_cluster is null then c.status <> 'decommissioning' else c.cluster_id = of_cluster end
$$;

-- One cluster as JSON (info_of). Called by people and services (document 004).
create or replace function clusters.get_cluster_info(p_cluster_id text) returns jsonb
language plpgsql
as $$
declare
  info constant jsonb := clusters.info_of(p_cluster_id);
begin
  if info is null then
    raise exception 'there is no cluster %', coalesce(p_cluster_id, 'null') using errcode = 'PF008';
  end if;
  perform clusters.note_read(p_cluster_id, 'get_cluster_info');
  return info;
end
$$;

-- The health of one cluster, or of all that are not decommissioned (health_of). Called by people and services (document 004).
create or replace function clusters.get_cluster_health_summary(p_cluster_id text default null) returns jsonb
language plpgsql
as $$
begin
  if p_cluster_id is not null and not exists (select from clusters.clusters where cluster_id = p_cluster_id) then
    raise exception 'there is no cluster %', p_cluster_id using errcode = 'PF008';
  end if;
  perform clusters.note_read(p_cluster_id, 'get_cluster_health_summary');
  return clusters.health_of(p_cluster_id);
end
$$;

-- The newest events first; of all clusters and of every severity but debug unless said otherwise. Called by people
-- and services (document 004).
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
