-- What is held back, and how it is held back and let go of (038).

-- name: pauses
-- What is paused, the oldest first; for how long.
select p.what, p.by_whom, p.reason, p.since, extract(epoch from public.fleet_now() - p.since)::float8 as lasted_s
from public.pauses p order by p.since, p.what;

-- name: pause
-- One row where it was not paused yet.
select begun from public.begin_pause(:what::text, :by_whom::text, :reason::text) begun where begun;

-- name: resume
-- One row where it was paused.
select ended from public.end_pause(:what::text) ended where ended;

-- name: cordons
-- Nodes on which an operator lets nobody start now, with how long that lasts yet, and who is on each.
select c.node_name, c.until, c.by_whom, c.reason, c.since,
  extract(epoch from c.until - public.fleet_now())::float8 as left_s,
  array(
    select p.reservation_id from public.gpu_pods p join public.reservations r using (reservation_id)
    where p.node_name = c.node_name and p.gone_at is null order by 1) as reservation_ids
from public.node_cordons c where c.until > public.fleet_now() order by c.until, c.node_name;

-- name: known_nodes
-- The names of all nodes that were seen and are not gone.
select node_name from public.gpu_nodes where gone_at is null order by 1;

-- name: cordon
-- Until when.
insert into public.node_cordons (node_name, until, by_whom, reason) values (:node_name, :until, :by_whom, :reason)
on conflict (node_name) do update set until = excluded.until, by_whom = excluded.by_whom, reason = excluded.reason,
  since = public.fleet_now()
returning until;

-- name: uncordon
-- One row where it was cordoned.
delete from public.node_cordons where node_name = :node_name and until > public.fleet_now() returning node_name;
