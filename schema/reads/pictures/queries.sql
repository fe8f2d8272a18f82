-- What pages draw.

-- name: gpu_nodes
-- The nodes of the cluster that have GPUs: how many, how many pods have, how many are free, and why a node takes nobody.
select n.node_name, n.gpu_type, n.zone, n.gpus, n.gpus_used, n.gpus_free, n.problem
from public.gpu_node_room n
where n.gpus > 0
order by n.gpu_type, n.node_name
limit :most::integer;

-- name: holders
-- Who holds GPUs on these nodes; of a user, or of everybody.
select r.reservation_id, r.user_id, r.name, r.status, r.gpu_type, r.gpus_held, r.pod_node, r.expires_at
from public.reservations r
where r.reservation_ended is null and r.gpus_held > 0 and r.pod_node = any (:nodes::text[])
  and (:username::text is null or r.user_id = :username::text)
order by r.pod_node, r.expires_at nulls last, r.reservation_id
limit :most::integer;

-- name: ending
-- What runs and ends next; of a user, or of everybody.
select r.reservation_id, r.user_id, r.name, r.gpu_type, r.gpu_count, r.total_nodes, r.expires_at
from public.reservations r
where r.status = 'active' and r.expires_at is not null
  and (:username::text is null or r.user_id = :username::text)
order by r.expires_at, r.reservation_id
limit :most::integer;

-- name: moves
-- The moves that a machine allows.
select m.from_status, m.to_status, m.happens_when from public.moves m where m.machine = :machine::text
order by m.from_status, m.to_status;

-- name: stray_pods
-- Pods that no row accounts for, the oldest first; those that are gone, or accounted for since, only if asked for.
select q.pod_name, q.namespace, q.reservation_id, q.gpu_type, q.node_name, q.gpus, q.reason, q.found_at, q.gone_at
from public.pod_quarantine q
where :gone_too::boolean or q.gone_at is null
order by q.found_at, q.pod_uid limit :most::integer;

-- name: held_over_time
-- Of each GPU type, in each quarter of an hour of the last 24, from 0 to 95: how many were held on average, and of how many.
with day as (
  select date_bin('15 minutes', public.fleet_now(), 'epoch') - interval '23 hours 45 minutes' as since
)
select f.about as gpu_type, floor(extract(epoch from f.at - d.since) / 900)::integer as place,
  avg(f.value) filter (where f.state = 'held') as held, avg(f.value) filter (where f.state = 'total') as total
from public.figures f, day d
where f.figure = 'gpus' and f.state in ('held', 'total') and f.at >= d.since and f.at < d.since + interval '1 day'
group by 1, 2 order by 1, 2;
