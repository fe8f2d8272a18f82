-- 173: assignments that are forgotten, as 171 says it of reservations.

-- An assignment that waits for a seat or an account, without its ticket.
create or replace view public.forgotten_assignment as
select a.user_id as row_id, a.ticket::bigint as ticket, a.status_since as since,
  a.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from hopsworks.user_hopsworks_assignments a
left join public.periodic p on p.name = 'assignment.sweep'
where a.status in ('pending', 'creating_user') and a.status_since < public.fleet_now() - interval '10 seconds'
  and not exists (
    select from pgmq.q_cluster_assignments q
    where q.message ->> 'action' = 'advance' and q.message ->> 'user_id' = a.user_id
      and q.message ->> 'ticket' = a.ticket::text);
