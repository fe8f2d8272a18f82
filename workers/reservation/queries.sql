-- What the steps of reservations look at. `row_version` is PostgreSQL's own: any change of the row makes a new one.
--
-- Rows are found by arrays of keys, and `is true` keeps a condition out of joins and away from partial indexes: so a plan
-- reads what is asked for also where statistics are of an empty table, for which all plans cost the same.

-- name: now
-- The database's time.
select public.fleet_now();

-- name: types
-- Every GPU type.
select t.xmin::text as row_version, t.* from public.gpu_types t;

-- name: types_of
-- The GPU types of these reservations.
select distinct r.gpu_type from public.reservations r where r.reservation_id = any(:keys::text[]) and r.gpu_type is not null;

-- name: line
-- The rows of the first units of a line (177), in its order, and of those that are booked; without those that are paused.
with units as materialized (
  select f.place, f.reservation_id from public.fronts_of_lines(array[:gpu_type::text], :most::integer) f
  union all
  select 0, b.reservation_id from public.booked_units b where b.gpu_type = :gpu_type::text
)
select r.xmin::text as row_version, r.*
from public.reservations r
join units u on u.reservation_id = coalesce(r.master_reservation_id, r.reservation_id)
where r.reservation_id = any (array(
  select v.reservation_id from units v
  union all
  select g.reservation_id::text from public.reservations g
  where g.master_reservation_id = any (array(select v.reservation_id from units v))))
  and (r.status in ('pending', 'queued') and coalesce(r.retry_at <= public.fleet_now(), true)) is true
order by u.place, r.waiting_since, r.line_number, r.reservation_id;

-- name: cordoned
-- Nodes on which an operator lets nobody start now, and how that is said.
select c.node_name, c.problem from public.cordoned_nodes c;

-- name: github_users
-- The names at GitHub that are on record for these users.
select u.user_id, public.github_user_of(u.user_id) from unnest(:users::text[]) u (user_id)
where public.github_user_of(u.user_id) is not null;

-- name: gangs
-- All rows of the gangs that these reservations belong to, node by node.
select r.xmin::text as row_version, r.*
from public.reservations r
where r.reservation_id = any (public.with_gangs(:keys::text[])) and r.master_reservation_id is not null
order by r.master_reservation_id, r.node_index;

-- name: users_found
-- A few names at GitHub of active reservations: its server of SSH keys knew them. Of these reservations, where one is being
-- prepared, as only then are keys asked for: who has analyzed the table while it was empty reads all active ones here.
select r.github_user
from public.reservations r
where r.status = 'active' and r.github_user is not null
  and (:keys::text[] is null or exists (
    select from public.reservations p where p.reservation_id = any (:keys::text[]) and p.status = 'preparing'))
order by r.expires_at
limit 3;

-- name: users_waiting
-- A few names at GitHub of reservations that want their keys, which nobody may know.
select distinct r.github_user
from public.reservations r
where r.status in ('pending', 'queued', 'preparing') and r.github_user is not null
limit 5;

-- name: fingerprints
-- The pods of these reservations, and of their gangs, as they were written down last, unless their service was seen to go.
select p.reservation_id, p.fingerprint
from public.gpu_pods p
where p.reservation_id = any(public.with_gangs(:keys::text[])) and p.gone_at is null and p.service_gone_version is null;

-- name: quarantined
-- Pods in quarantine that are still there, and those of these uids.
select q.xmin::text as row_version, q.*
from public.pod_quarantine q
where q.gone_at is null or q.pod_uid = any(:uids::text[]);

-- name: kept
-- Those of a GPU type that a disk keeps, oldest first, each with its gang: they are in nobody's way.
select r.xmin::text as row_version, r.*
from public.reservations r
where r.reservation_id = any (array(
  with kept as materialized (
    select w.reservation_id, w.unit_id
    from public.waiting_reservations w
    where w.gpu_type = :gpu_type::text and w.disk_name is not null and w.is_kept
    order by w.waiting_since, w.line_number, w.reservation_id
    limit :most)
  select k.reservation_id from kept k
  union all
  select g.reservation_id from public.reservations g
  where g.master_reservation_id = any (array(select k.unit_id from kept k))
    and (g.status in ('pending', 'queued')) is true))
order by r.waiting_since, r.line_number, r.reservation_id;

-- name: disks
-- Disks by user and name, those that these reservations ask for, and those that they have: each with its newest completed
-- snapshot, how far a pending one is, why it keeps others waiting, and its own reservation, and what that one waits for
-- when it has ended. One index scan for each condition; together, in one, they would read all disks.
select d.xmin::text as row_version, d.*,
  (select s.snapshot_id from public.disk_snapshots s
   where s.disk_id = d.disk_id and s.status = 'completed'
   order by s.completed_at desc nulls last, s.snapshot_id desc limit 1) as newest_snapshot_id,
  (select min(coalesce(s.progress_percent, 0)) from public.disk_snapshots s
   where s.disk_id = d.disk_id and (s.status in ('pending', 'creating')) is true) as progress,
  public.disk_hold(d, null) as hold, public.disk_hold(d, d.reservation_id) as own_hold,
  (select public.teardown_hold(h.held_by, h.held_since, h.status, h.reservation_ended, h.current_detailed_status)
   from public.reservations h where h.reservation_id = d.reservation_id) as holder_waits_for
from public.disks d
where d.disk_id = any (array(
  with named as materialized (
    select * from unnest(:users::text[], :names::text[]) n (user_id, disk_name)
    union all
    select r.user_id, r.disk_name from public.reservations r
    where r.reservation_id = any(public.with_gangs(:keys::text[])) and r.disk_name is not null
  )
  select wanted.disk_id from public.disks wanted
  where wanted.user_id = any (array(select n.user_id from named n))
    and ((wanted.user_id, wanted.disk_name) in (select n.user_id, n.disk_name from named n)) is true
  union all
  select held.disk_id from public.disks held
  where held.reservation_id = any(public.with_gangs(:keys::text[]))));

-- name: disks_of_line
-- The disks that `line` and `kept` ask for, as `disks` has them.
select d.xmin::text as row_version, d.*,
  (select s.snapshot_id from public.disk_snapshots s
   where s.disk_id = d.disk_id and s.status = 'completed'
   order by s.completed_at desc nulls last, s.snapshot_id desc limit 1) as newest_snapshot_id,
  (select min(coalesce(s.progress_percent, 0)) from public.disk_snapshots s
   where s.disk_id = d.disk_id and (s.status in ('pending', 'creating')) is true) as progress,
  public.disk_hold(d, null) as hold, public.disk_hold(d, d.reservation_id) as own_hold,
  (select public.teardown_hold(h.held_by, h.held_since, h.status, h.reservation_ended, h.current_detailed_status)
   from public.reservations h where h.reservation_id = d.reservation_id) as holder_waits_for
from public.disks d
where d.disk_id = any (array(
  with named as materialized (
    (select r.user_id::text, r.disk_name::text
     from public.reservations r
     where r.reservation_id = any (array(
         select f.reservation_id from public.fronts_of_lines(array[:gpu_type::text], :most::integer) f
         union all
         select b.reservation_id from public.booked_units b where b.gpu_type = :gpu_type::text))
       and r.disk_name is not null)
    union all
    (select w.user_id, w.disk_name
     from public.waiting_reservations w
     where w.gpu_type = :gpu_type::text and w.disk_name is not null and w.is_kept
     order by w.waiting_since, w.line_number, w.reservation_id
     limit :most)
  )
  select wanted.disk_id from public.disks wanted
  where wanted.user_id = any (array(select n.user_id from named n))
    and ((wanted.user_id, wanted.disk_name) in (select n.user_id, n.disk_name from named n)) is true));

-- name: unended
-- Reservations that may still own something outside.
select r.reservation_id from public.reservations r where r.reservation_ended is null;

-- name: stuck
-- Reservations that have ended and are not gone (180), with what their teardown waits for.
select r.xmin::text as row_version, r.*,
  public.teardown_hold(r.held_by, r.held_since, r.status, r.reservation_ended, r.current_detailed_status) as waits_for
from public.reservations r
where r.reservation_id in (select s.reservation_id from public.stuck_reservations s)
order by r.status_since, r.reservation_id;

-- name: log_requests
-- Who reads along what a pod writes.
select l.xmin::text as row_version, l.* from public.log_requests l where l.request_id = any(:requests::uuid[]);

-- name: read_along
-- The reservations whose pods these requests are about.
select r.xmin::text as row_version, r.*
from public.reservations r
where r.reservation_id = any (array(
  select l.reservation_id from public.log_requests l where l.request_id = any(:requests::uuid[])));
