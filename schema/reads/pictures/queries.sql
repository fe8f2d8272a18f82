-- What pages draw.

-- name: gpu_nodes
-- The nodes of the cluster that have GPUs: how many, how many pods have, how many are free, and why a node takes nobody.
select n.node_name, n.gpu_type, n.zone, n.gpus, n.gpus_used, n.gpus_free, n.problem
from public.gpu_node_room n
where n.gpus > 0
order by n.gpu_type, n.node_name
limit :most::integer;

-- name: holders
-- Who holds GPUs, by node; of a user, or of everybody.
select r.reservation_id, r.user_id, r.name, r.status, r.gpu_type, r.gpus_held, r.pod_node, r.expires_at
from public.reservations r
where r.gpus_held > 0 and r.pod_node is not null
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
