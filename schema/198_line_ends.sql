-- 198: when GPUs will be free again: what a line (177) waits for.

-- GPUs that somebody holds, and what is known of their end: since when it has had its state, when an active one expires,
-- and for how many hours one that is being prepared was asked for. node: where a pod has them; null where its pod is on
-- none yet (gpus_to_place, 176), and then kept_to_node says which it is for. '' where they are on no node any more: the
-- pod is gone, or is over, and its node has them back already, while the row holds them until its teardown has seen
-- that. is_stuck: nobody knows when its pod is gone (180).
create or replace view public.gpu_ends as
select r.gpu_type, coalesce(r.master_reservation_id, r.reservation_id) as unit_id, r.gpus_held as gpus, r.status, r.status_since, r.expires_at, r.duration_hours,
  coalesce(r.admitted_at, r.status_since) as admitted_at,
  -- Not its max: that is sought from the end of an index over all nodes.
  coalesce((
    select min(p.node_name || '') from public.gpu_pods p
    where p.reservation_id = r.reservation_id and p.gone_at is null and p.phase not in ('Succeeded', 'Failed')),
    case when r.status <> 'preparing' then '' end) as node,
  -- All of them at once: row by row they would be read as often as there are rows where statistics are of an empty table.
  (r.reservation_id in (select s.reservation_id from public.stuck_reservations s)) is true as is_stuck,
  r.kept_to_node
from public.reservations r
where r.reservation_ended is null and r.gpus_held > 0;

-- How long it takes until a reservation of a type is ready, and from its end until its GPUs are free: what 95 of the last
-- 100 did not exceed; half a minute where none has ended yet. A teardown that was stuck (180) says nothing of others: while
-- it is, nobody counts on its GPUs, and all would seem to end so much later for the node of one that did not answer.
create or replace view public.line_paces as
select g.gpu_type,
  coalesce((
    select percentile_disc(0.95) within group (order by extract(epoch from l.launched_at - l.admitted_at))
    from (
      select r.launched_at, r.admitted_at from public.reservations r
      where r.gpu_type = g.gpu_type and r.reservation_ended is not null and r.launched_at is not null
      order by r.reservation_ended desc limit 100) l
    where l.launched_at >= l.admitted_at), 30)::float8 as preparing_s,
  coalesce((
    select percentile_disc(0.95) within group (order by extract(epoch from l.reservation_ended - l.status_since))
    from (
      -- That of a disk takes as long as its snapshot, and of one that was let go of nobody saw the end. Of the last thousand,
      -- as there may be none at all: then all that have ever ended would be read, at each look at the line.
      select e.reservation_ended, e.status_since from (
        select r.disk_name, r.forced_at, r.reservation_ended, r.status_since from public.reservations r
        where r.gpu_type = g.gpu_type and r.reservation_ended is not null and r.launched_at is not null
        order by r.reservation_ended desc limit 1000) e
      where e.disk_name is null and e.forced_at is null and e.reservation_ended <= e.status_since + interval '10 minutes'
      order by e.reservation_ended desc limit 100) l), 30)::float8 as teardown_s
from public.gpu_types g;
