-- 174: the lines of reservations, for the worker who serves them and the people who look at them.

-- Reservations that wait for GPUs, but for those that nobody has checked yet (058). is_paused: its pod found no node, and it lets others pass for a while. is_kept: its
-- disk keeps it (170), and others pass it. is_lost: nobody can ever have its disk, and the next look at the line refuses
-- it. unit_id: what the rows of a gang have in common, the id of its first node; else its own. is_first: whether it stands
-- for its unit.
create or replace view public.waiting_reservations as
select r.reservation_id, r.user_id, r.disk_name, r.gpu_type, r.gpu_count, r.waiting_since, r.line_number,
  coalesce(r.retry_at > public.fleet_now(), false) as is_paused,
  -- `is true` keeps it out of joins: a disk is looked up by its name for each who waits, and not all disks for each.
  exists (
    select from public.disks d
    where d.user_id = r.user_id and d.disk_name = r.disk_name and coalesce(r.node_index, 0) = 0
      and public.disk_hold(d, r.reservation_id) is not null) is true as is_kept,
  exists (
    select from public.disks d
    where d.user_id = r.user_id and d.disk_name = r.disk_name and coalesce(r.node_index, 0) = 0
      and d.status in ('deleted', 'purged', 'failed')) is true as is_lost,
  coalesce(r.master_reservation_id, r.reservation_id) as unit_id, r.start_at, r.duration_hours,
  case when r.master_reservation_id is null then 1 else coalesce(r.total_nodes, 1) end as nodes,
  r.promised_at, r.promised_nodes,
  -- As a case, of which no plan believes that it holds for next to nobody.
  case when r.master_reservation_id is null then true else r.master_reservation_id = r.reservation_id end as is_first
from public.reservations r
where r.status in ('pending', 'queued') and r.gpu_count is not null and r.unchecked_since is null;
