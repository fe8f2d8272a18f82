-- 177: the lines of reservations (174) with what nodes have room for (176).

-- Those in line. has_no_room: the GPUs of its type would suffice, but no node has as many free: others pass it until one
-- has. Where nodes were not seen lately, nobody lets others pass.
create or replace view public.line_with_room as
with rooms as materialized (
  -- Made once, not for each who waits.
  select m.gpu_type, m.is_seen, m.unheld, m.most_free from public.gpu_rooms m
)
select w.reservation_id, w.user_id, w.disk_name, w.gpu_type, w.gpu_count, w.waiting_since, w.line_number, w.is_lost,
  coalesce(m.is_seen and w.gpu_count <= m.unheld and w.gpu_count > m.most_free, false) as has_no_room
from public.waiting_reservations w
left join rooms m using (gpu_type)
where not w.is_paused and not w.is_kept;
