-- 145: the sweeps that mark silent nodes offline.
--
-- A node is silent if the sweep before this one could have found it so already, and nothing was heard of it since: an
-- absence of ours that is too short to be seen as a gap (144) is nobody's silence either.

-- Without the nodes of which a heartbeat with a proof waits.
-- squawk-ignore ban-drop-function
drop function if exists autoscaler.sweep_offline(interval, float8, text);
-- squawk-ignore ban-drop-function
drop function if exists clusters.sweep_offline(float8, float8, boolean, text);

-- Marks nodes offline that were silent for too long before the oldest heartbeat that still waits, and of which none
-- waits, unless there is a reason to hold back. Where the only reason is that most are, or that heartbeats wait, those that
-- are surely silent are marked; where most are, with believed_by, a person's name, all. proven are the nodes of which a
-- heartbeat with a proof waits. Called by the heartbeat worker, and by `pgfleet nodes believe`.
create or replace function autoscaler.sweep_offline(
  silence interval, most_share float8, believed_by text default null, proven text[] default '{}')
returns public.offline_sweeps
language plpgsql
as $$
declare
  sweep constant public.offline_sweeps := public.begin_sweep('node');
  behind constant text := public.why_behind(silence);
  known_until constant timestamptz := public.known_until(sweep, behind);
  coming text[];
  alive bigint;
  silent bigint;
  marked bigint := 0;
  unwatched text;
  doubt text;
  belief text;
begin
  select count(*), count(*) filter (
    where public.heard_at(coalesce(last_heartbeat at time zone 'UTC', status_since), sweep.watching_since)
      < public.fleet_now() - silence)
  into alive, silent
  from autoscaler.nodes where status in ('ACTIVE', 'ERROR') and deleted_at is null;
  if silent > 0 then
    unwatched := public.why_unwatched(sweep, silence);
    doubt := coalesce(behind,
      case when believed_by is null then public.why_unlikely(sweep, silent, alive, silence, most_share) end);
    belief := public.belief(believed_by, doubt, silence);
  end if;
  if silent > 0 and unwatched is null then
    coming := public.nodes_in_queue() || proven;
    -- A node that somebody has locked is left to the next sweep.
    with gone as (
      select id from autoscaler.nodes
      where status in ('ACTIVE', 'ERROR') and deleted_at is null
        and greatest(sweep.watching_since,
          public.heard_at(coalesce(last_heartbeat at time zone 'UTC', status_since), sweep.watching_since))
          < known_until - case when doubt is null then silence else public.surely_silent(silence) end
        and not id::text = any (coming)
      order by id for no key update skip locked
    )
    update autoscaler.nodes n set status = 'OFFLINE', status_reason = public.silence_reason(silence, belief)
    from gone where n.id = gone.id;
    get diagnostics marked = row_count;
  end if;
  return public.note_sweep(sweep, alive, silent, marked,
    coalesce(unwatched, case when marked < silent then doubt end), belief, silence, most_share);
end
$$;

-- Marks cluster nodes offline that were silent for so many health check intervals of their cluster, and lets
-- clusters find other leaders: those of silent nodes, and those whose rows somebody changed. believed_by and proven as
-- above. Called by the heartbeat worker, and by `pgfleet clusters believe`.
create or replace function clusters.sweep_offline(
  intervals float8, most_share float8, skip_held boolean default false, believed_by text default null,
  proven text[] default '{}')
returns public.offline_sweeps
language plpgsql
set enable_nestloop = off
as $$
declare
  sweep constant public.offline_sweeps := public.begin_sweep('cluster_node');
  alive bigint;
  silent text[];
  shortest interval;
  behind text;
  known_until timestamptz;
  concerned text[];
  coming text[];
  of_cluster text;
  marked bigint := 0;
  unwatched text;
  doubt text;
  belief text;
begin
  select count(*), coalesce(array_agg(n.node_id) filter (where h.heard < public.fleet_now() - s.silence), '{}'),
    min(s.silence) filter (where h.heard < public.fleet_now() - s.silence)
  into alive, silent, shortest
  from clusters.cluster_nodes n
  join clusters.clusters c using (cluster_id)
  cross join lateral (select clusters.silence_of(c.config, intervals) as silence) s
  cross join lateral (
    select public.heard_at(coalesce(n.last_heartbeat, n.status_since), sweep.watching_since) as heard) h
  where n.status in ('online', 'error') and n.deleted_at is null and c.status <> 'decommissioning';
  if silent <> '{}' then
    behind := public.why_behind(shortest);
    unwatched := public.why_unwatched(sweep, shortest);
    doubt := coalesce(behind, case when believed_by is null
      then public.why_unlikely(sweep, cardinality(silent), alive, shortest, most_share) end);
    belief := public.belief(believed_by, doubt, shortest);
  end if;

  select coalesce(array_agg(cluster_id order by cluster_id), '{}') into concerned
  from clusters.clusters c join clusters.cluster_health h using (cluster_id)
  where c.status <> 'decommissioning' and (
    c.health_score <> h.score
    or unwatched is null and exists (
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
  if unwatched is null then
    coming := public.nodes_in_queue() || proven;
    known_until := public.known_until(sweep, behind);
    with gone as (
      select n.node_id, s.silence
      from clusters.cluster_nodes n
      join clusters.clusters c using (cluster_id)
      cross join lateral (select clusters.silence_of(c.config, intervals) as silence) s
      where n.node_id = any (silent) and n.cluster_id = any (concerned) and n.status in ('online', 'error')
        and n.deleted_at is null and not n.node_id = any (coming)
        and greatest(sweep.watching_since,
          public.heard_at(coalesce(n.last_heartbeat, n.status_since), sweep.watching_since))
          < known_until - case when doubt is null then s.silence else public.surely_silent(s.silence) end
      order by n.node_id for no key update of n skip locked
    )
    update clusters.cluster_nodes n
    set status = 'offline', status_reason = public.silence_reason(gone.silence,
      public.belief(believed_by, doubt, gone.silence))
    from gone where n.node_id = gone.node_id;
    get diagnostics marked = row_count;
  end if;
  foreach of_cluster in array concerned loop
    perform clusters.assess(of_cluster);
  end loop;
  return public.note_sweep(sweep, alive, cardinality(silent), marked,
    coalesce(unwatched, case when marked < cardinality(silent) then doubt end), belief, shortest, most_share);
end
$$;
