-- 136: what pages draw from: nodes of the autoscaler by how each is heard and whether it runs what it should, and what was measured.

-- One row per node that is not deleted. how: 'silent' (offline), 'error', 'late' (nothing heard for two minutes, and not yet
-- offline), 'heard', 'never'; urgency: the smaller, the sooner somebody should look. drifts: it has reported, and runs another
-- configuration than the active one. Read by pages.
create or replace view autoscaler.node_beats as
select n.id, n.name, n.region, n.status, n.last_heartbeat at time zone 'UTC' as last_heartbeat, h.how,
  array_position('{silent,error,late,never,heard}', h.how) as urgency,
  n.last_heartbeat is not null and c.config_hash is not null and n.config_hash is distinct from c.config_hash as drifts
from autoscaler.nodes n
left join autoscaler.node_configurations c on c.node_id = n.id and c.is_active
cross join lateral (
  select case
    when n.status::text = 'OFFLINE' then 'silent'
    when n.status::text = 'ERROR' then 'error'
    when n.status::text = 'INACTIVE' then 'never'
    when coalesce(n.last_heartbeat < (select public.fleet_now() at time zone 'UTC' - interval '2 minutes'), true) then 'late'
    else 'heard' end as how
) h
where n.deleted_at is null;

-- A number in what somebody measured; null where it is none. Called by pages.
create or replace function clusters.figure_in(measured jsonb, name text) returns float8
language sql immutable parallel safe
as $$ select case when jsonb_typeof(measured -> name) = 'number' then (measured ->> name)::float8 end $$;
