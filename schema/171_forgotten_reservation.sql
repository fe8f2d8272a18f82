-- 171: reservations that are forgotten. What a view named forgotten_<machine> has, `pgfleet doctor` tells, and the sweep
-- of the machine's kind sends a ticket; both find it by its name. Columns: row_id; ticket, the number that the row waits
-- for (null where the machine has none); since; is_overdue, whether the sweep should have seen it by now.

-- A row with something left to do and no message that would do it. A stale ticket is none; whatever else is about the row
-- is one; of rows that were placed with a message and not checked yet, it is the one that checks them, and that of a gang
-- names its first. A row that has just moved may still wait for its producer to send.
create or replace view public.forgotten_reservation as
select r.reservation_id::text as row_id, r.ticket::bigint as ticket, r.status_since as since,
  r.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from public.reservations r
left join public.periodic p on p.name = 'reservation.sweep'
where r.reservation_ended is null and r.status_since < public.fleet_now() - interval '10 seconds'
  and not exists (
    select from pgmq.q_gpu_reservations q
    where q.message ->> 'reservation_id'
        = case when r.unchecked_since is null then r.reservation_id else coalesce(r.master_reservation_id, r.reservation_id) end
      and coalesce(q.message ->> 'ticket', r.ticket::text) = r.ticket::text);
