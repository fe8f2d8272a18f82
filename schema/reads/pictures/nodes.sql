-- What pages draw of the autoscaler's nodes: a map of the fleet, and a day of one node in 96 quarters of an hour.

-- name: regions
-- Each region with its nodes counted by how they are heard, the worst first; how each is, is worked out once.
with b as materialized (
  select b.region, b.how, b.drifts from autoscaler.node_beats b where :region::text is null or b.region = :region::text
)
select b.region, count(*) as total,
  count(*) filter (where b.how = 'heard') as heard,
  count(*) filter (where b.how = 'late') as late,
  count(*) filter (where b.how = 'error') as error,
  count(*) filter (where b.how = 'silent') as silent,
  count(*) filter (where b.how = 'never') as never,
  count(*) filter (where b.drifts) as drifting
from b
group by b.region
order by count(*) filter (where b.how = 'silent') desc, count(*) filter (where b.how = 'error') desc, b.region
limit :most::integer;

-- name: cells
-- The nodes of these regions, those that need somebody first, and at most so many of each.
with b as materialized (
  select b.id, b.name, b.region, b.how, b.urgency from autoscaler.node_beats b where b.region = any (:regions::text[])
)
select p.id, p.name, p.region, p.how
from (
  select b.id, b.name, b.region, b.how,
    row_number() over (partition by b.region order by b.urgency, b.id) as place
  from b
) p
where p.place <= :each::integer
order by p.region, p.place;

-- name: region_names
-- All regions that have nodes.
select distinct n.region from autoscaler.nodes n where n.deleted_at is null order by n.region limit :most::integer;

-- name: heard
-- The heartbeats of a node in each quarter of an hour, from 0 to 95: how many, and how many told of an error.
with day as (
  select date_bin('15 minutes', public.fleet_now() at time zone 'UTC', 'epoch') - interval '23 hours 45 minutes' as since
)
select floor(extract(epoch from h.timestamp - d.since) / 900)::integer as place, count(*) as heard,
  count(*) filter (where autoscaler.tells_error(h.status, h.error_message)) as errors
from autoscaler.node_heartbeats h, day d
where h.node_id = :node::integer and h.timestamp >= d.since and h.timestamp < d.since + interval '1 day'
group by 1 order by 1;

-- name: metrics
-- What a node has measured in each quarter of an hour, by the name of the metric: of what it measured first in it, as a node
-- may report a thousand metrics.
with day as (
  select date_bin('15 minutes', public.fleet_now() at time zone 'UTC', 'epoch') - interval '23 hours 45 minutes' as since
)
select s.metric_type, min(s.unit) as unit, p.place, avg(s.value) as value
from day d
cross join generate_series(0, 95) p (place)
cross join lateral (
  select m.metric_type, m.unit, m.value
  from autoscaler.metrics m
  where m.node_id = :node::integer and m.pool_id is null
    and m.timestamp >= d.since + p.place * interval '15 minutes'
    and m.timestamp < d.since + (p.place + 1) * interval '15 minutes'
  order by m.timestamp limit 240
) s
group by s.metric_type, p.place
order by s.metric_type, p.place
limit :most::integer;

-- name: pools
-- What a node has said of its pools in each quarter of an hour.
with day as (
  select date_bin('15 minutes', public.fleet_now() at time zone 'UTC', 'epoch') - interval '23 hours 45 minutes' as since
)
select a.oracle_pool_id, floor(extract(epoch from a.timestamp - d.since) / 900)::integer as place,
  avg(a.current_instances) as instances, avg(a.avg_cpu_utilization) as cpu, avg(a.avg_memory_utilization) as memory
from autoscaler.pool_analytics a, day d
where a.node_id = :node::integer and a.timestamp >= d.since and a.timestamp < d.since + interval '1 day'
group by a.oracle_pool_id, 2
order by a.oracle_pool_id, 2
limit :most::integer;

-- name: lifecycle
-- What became of a node, the newest first.
select l.id, l.event_type, l.previous_status, l.new_status, l.reason, l.triggered_by, l.timestamp at time zone 'UTC' as at
from autoscaler.node_lifecycle_logs l
where l.node_id = :node::integer
order by l.id desc limit :most::integer;
