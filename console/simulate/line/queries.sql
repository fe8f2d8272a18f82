-- What `pgfleet simulate reservations` reads of the past: operators see all rows.

-- name: figures
-- Each GPU type with GPUs: the operator's total, how large its nodes are, and how long preparing and teardown take.
select g.gpu_type, coalesce(g.total_cluster_gpus, 0) as total, g.max_per_node, p.preparing_s, p.teardown_s,
  s.starving_after, s.fair_share, m.is_seen, m.names, m.sizes, m.zones, public.fleet_now() as now
from public.gpu_types g
join public.line_paces p on p.gpu_type = g.gpu_type
join public.gpu_rooms m on m.gpu_type = g.gpu_type
cross join public.line_settings s
where g.max_gpus > 0
order by g.gpu_type;

-- name: units
-- What waited or had GPUs of a type after `since`, a gang as one: when it came, and got its GPUs, and gave all of them
-- back. Of one that never got any, admitted_at is null. Those that failed in line could not have started anyway.
select u.*
from (
  select coalesce(r.master_reservation_id, r.reservation_id) as key, max(r.gpu_count) as gpus,
    case when max(r.master_reservation_id) is null then 1 else coalesce(max(r.total_nodes), 1) end as nodes,
    max(r.duration_hours) as hours, min(r.created_at) as came_at, max(r.start_at) as start_at,
    max(r.admitted_at) filter (where h.got_them) as admitted_at, max(r.expires_at) as expires_at,
    case when count(r.reservation_ended) = count(*) then max(r.reservation_ended) end as ended_at,
    bool_or(r.status = 'failed') as has_failed
  from public.reservations r
  -- Who went back to its line and left that has been admitted, and has nothing of it.
  cross join lateral (
    select r.launched_at is not null or r.status in ('preparing', 'active') or exists (
      select from public.status_history s
      where s.machine = 'reservation' and s.row_id = r.reservation_id and s.from_status = 'preparing'
        and s.to_status = r.status) as got_them) h
  where r.gpu_type = :gpu_type::text and r.gpu_count > 0
    and (r.reservation_ended is null or r.reservation_ended > :since::timestamptz)
  group by 1) u
where u.admitted_at is not null or not u.has_failed
order by coalesce(u.admitted_at, u.came_at), u.key;
