-- 145: the sweeps that mark silent nodes offline.

-- Marks nodes offline that were silent for too long before the oldest heartbeat that still waits, and of which none
-- waits, unless there is a reason to hold back. One sweep at a time. Called by the heartbeat worker.
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
    -- A node that somebody has locked is left to the next sweep.
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

-- Marks cluster nodes offline that were silent for so many health check intervals of their cluster, and lets
-- clusters find other leaders: those of silent nodes, and those whose rows somebody changed. Called by the heartbeat
-- worker.
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
  -- A cluster that somebody has locked is left to the next sweep.
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
