-- 147: how far nodes' clocks are from ours: skew, from what 028 keeps of their last ten heartbeats.

-- Whether a clock that is behind by so many seconds, or ahead (below 0), is so far off that somebody should know. Called
-- by tells_skew and both take_heartbeats.
create or replace function public.is_far_off(skew_s float8) returns boolean
language sql immutable parallel safe
as $$ select abs(skew_s) >= 10 $$;

-- How far a node's clock is behind ours, in seconds; below 0 where it is ahead, null where nothing is known. Called by
-- the functions here, and by the console.
create or replace function public.skew_of(skews real[]) returns float8
language sql immutable parallel safe
as $$ select min(skew)::float8 from unnest(skews) skew $$;

-- Whether a node's clock is so far off that somebody should know. Called by skewed_nodes, both take_heartbeats and the
-- console.
create or replace function public.tells_skew(skews real[]) returns boolean
language sql immutable parallel safe
as $$ select coalesce(public.is_far_off(public.skew_of(skews)), false) $$;

-- A skew as people say it: '20 seconds behind ours', '3 hours ahead of ours'. Called by both take_heartbeats and
-- skewed_nodes.
create or replace function public.skew_in_words(skews real[]) returns text
language sql immutable parallel safe
as $$
  select format('%s %s ours',
    case when far_s < 120 then format('%s seconds', round(far_s))
      when far_s < 120 * 60 then format('%s minutes', round(far_s / 60))
      when far_s < 48 * 3600 then format('%s hours', round(far_s / 3600))
      else format('%s days', round(far_s / 86400)) end,
    case when skew_s < 0 then 'ahead of' else 'behind' end)
  from (select public.skew_of(skews) as skew_s, abs(public.skew_of(skews))::numeric as far_s) s
$$;

-- Nodes of both kinds whose clocks are so far off, with how far: skew_s in seconds, and in words. Read by the doctor.
create or replace view public.skewed_nodes as
select n.*, public.skew_of(n.skews) as skew_s, public.skew_in_words(n.skews) as in_words
from (
  select 'node' as machine, id::text as row_id, name, skews from autoscaler.nodes where deleted_at is null
  union all
  select 'cluster_node' as machine, node_id, name, skews from clusters.cluster_nodes where deleted_at is null
) n
where public.tells_skew(n.skews);
