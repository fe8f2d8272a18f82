-- What the steps of reservations look at. `row_version` is PostgreSQL's own: any change of the row makes a new one.

-- name: now
-- The database's time.
select public.fleet_now();

-- name: types
-- Every GPU type.
select t.xmin::text as row_version, t.* from public.gpu_types t;

-- name: line
-- The front of the line of a GPU type.
select r.xmin::text as row_version, r.*
from public.reservations r
where r.reservation_id in (
  select w.reservation_id
  from public.waiting_reservations w
  where w.gpu_type = :gpu_type::text and not w.is_paused and not w.is_kept
  order by w.waiting_since, w.line_number, w.reservation_id
  limit :most)
order by r.waiting_since, r.line_number, r.reservation_id;

-- name: kept
-- Those of a GPU type that a disk keeps, oldest first: they are in nobody's way.
select r.xmin::text as row_version, r.*
from public.reservations r
where r.reservation_id in (
  select w.reservation_id
  from public.waiting_reservations w
  where w.gpu_type = :gpu_type::text and w.disk_name is not null and w.is_kept
  order by w.waiting_since, w.line_number, w.reservation_id
  limit :most)
order by r.waiting_since, r.line_number, r.reservation_id;

-- name: disks
-- Disks by user and name, those that these reservations ask for, and those that they have: each with its newest completed
-- snapshot, how far a pending one is, and why it keeps others waiting, and its own reservation. One index scan for each
-- condition; together, in one, they would read all disks.
select d.xmin::text as row_version, d.*,
  (select s.snapshot_id from public.disk_snapshots s
   where s.disk_id = d.disk_id and s.status = 'completed'
   order by s.completed_at desc nulls last, s.snapshot_id desc limit 1) as newest_snapshot_id,
  (select min(coalesce(s.progress_percent, 0)) from public.disk_snapshots s
   where s.disk_id = d.disk_id and s.status in ('pending', 'creating')) as progress,
  public.disk_hold(d, null) as hold, public.disk_hold(d, d.reservation_id) as own_hold
from public.disks d
where d.disk_id in (
  select named.disk_id from public.disks named
  where (named.user_id, named.disk_name) in (select unnest(:users::text[]), unnest(:names::text[]))
  union all
  select wanted.disk_id from public.disks wanted
  where (wanted.user_id, wanted.disk_name) in (
    select r.user_id, r.disk_name from public.reservations r
    where r.reservation_id = any(:keys::text[]) and r.disk_name is not null)
  union all
  select held.disk_id from public.disks held where held.reservation_id = any(:keys::text[]));

-- name: disks_of_line
-- The disks that `line` and `kept` ask for, as `disks` has them.
select d.xmin::text as row_version, d.*,
  (select s.snapshot_id from public.disk_snapshots s
   where s.disk_id = d.disk_id and s.status = 'completed'
   order by s.completed_at desc nulls last, s.snapshot_id desc limit 1) as newest_snapshot_id,
  (select min(coalesce(s.progress_percent, 0)) from public.disk_snapshots s
   where s.disk_id = d.disk_id and s.status in ('pending', 'creating')) as progress,
  public.disk_hold(d, null) as hold, public.disk_hold(d, d.reservation_id) as own_hold
from public.disks d
where d.disk_id in (
  select wanted.disk_id from public.disks wanted
  where (wanted.user_id, wanted.disk_name) in (
    select w.user_id, w.disk_name
    from public.waiting_reservations w
    where w.gpu_type = :gpu_type::text and w.disk_name is not null and not w.is_paused and not w.is_kept
    order by w.waiting_since, w.line_number, w.reservation_id
    limit :most)
  union all
  select wanted.disk_id from public.disks wanted
  where (wanted.user_id, wanted.disk_name) in (
    select w.user_id, w.disk_name
    from public.waiting_reservations w
    where w.gpu_type = :gpu_type::text and w.disk_name is not null and w.is_kept
    order by w.waiting_since, w.line_number, w.reservation_id
    limit :most));

-- name: unended
-- Reservations that may still own something outside.
select r.reservation_id from public.reservations r where r.reservation_ended is null;
