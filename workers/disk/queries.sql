-- What the steps of disks look at. `row_version` is PostgreSQL's own: any change of the row makes a new one.
--
-- Rows are found by arrays of keys, as 175 has it.

-- name: now
-- The database's time.
select public.fleet_now();

-- name: operations
-- Operations by id.
select o.xmin::text as row_version, o.* from public.disk_operations o where o.operation_id = any(:operations::uuid[]);

-- name: disks
-- The disks that some messages are about.
select d.xmin::text as row_version, d.*
from public.disks d
where d.disk_id = any (array(
  select asked.disk_id
  from public.disks_asked_about(
    :disks::uuid[], :snapshots::uuid[], :operations::uuid[], :users::text[], :names::text[]) asked (disk_id)));

-- name: snapshots
-- Snapshots by id; of the disks that some messages are about those that are not over, and of the ones that are being made
-- the failed ones, too; the one that a release has waited for, or an operation; and of volumes that are still there, also
-- those that other disks are made from.
with asked as materialized (
  select d.disk_id, d.status, d.release_snapshot_id, d.ebs_volume_id
  from public.disks d
  where d.disk_id = any (array(
    select asked.disk_id
    from public.disks_asked_about(
      :disks::uuid[], :snapshots::uuid[], :operations::uuid[], :users::text[], :names::text[]) asked (disk_id)))
), found as (
  select s.snapshot_id from public.disk_snapshots s where s.snapshot_id = any(:snapshots::uuid[])
  union all
  select s.snapshot_id from public.disk_snapshots s
  where (s.status in ('pending', 'creating', 'completed', 'deleting')) is true
    and s.disk_id = any (array(select a.disk_id from asked a))
  union all
  select s.snapshot_id from public.disk_snapshots s
  where s.status = 'failed' and s.disk_id = any (array(select a.disk_id from asked a where a.status = 'creating'))
  union all
  select s.snapshot_id from public.disk_snapshots s
  where s.snapshot_id = any (array(select a.release_snapshot_id from asked a))
  union all
  select s.snapshot_id from public.disk_snapshots s
  where s.snapshot_id = any (array(
    select o.snapshot_id from public.disk_operations o where o.operation_id = any(:operations::uuid[])))
  union all
  select s.snapshot_id from public.disk_snapshots s
  where (s.status in ('pending', 'creating')) is true and s.ebs_volume_id = any (array(select a.ebs_volume_id from asked a))
)
select s.xmin::text as row_version, s.*
from public.disk_snapshots s
where s.snapshot_id = any (array(select f.snapshot_id from found f));

-- name: holders
-- The reservations that have the disks that some messages are about, with their status.
select r.reservation_id, r.status
from public.reservations r
where r.reservation_id = any (array(
  select d.reservation_id
  from public.disks d
  where d.disk_id = any (array(
    select asked.disk_id
    from public.disks_asked_about(
      :disks::uuid[], :snapshots::uuid[], :operations::uuid[], :users::text[], :names::text[]) asked (disk_id)))));

-- name: live_operations
-- The operations that wait for one of the disks that some messages are about.
select o.disk_id, o.operation_id
from public.disk_operations o
where o.status in ('pending', 'in_progress') and o.disk_id = any (array(
  select asked.disk_id
  from public.disks_asked_about(
    :disks::uuid[], :snapshots::uuid[], :operations::uuid[], :users::text[], :names::text[]) asked (disk_id)));

-- name: copying
-- The snapshots at AWS that are being copied.
select distinct s.copied_from
from public.disk_snapshots s
where s.status in ('pending', 'creating') and s.copied_from is not null;

-- name: untended_operations
-- For the sweep: operations without a message that nobody has begun with, and begun ones, whose disk or snapshot may have
-- come to its end without telling them.
select f.row_id from public.forgotten_disk_operation f
union all
select o.operation_id::text
from public.disk_operations o
where o.status = 'in_progress' and o.status_since < public.fleet_now() - interval '60 seconds'
  and not exists (
    select from pgmq.q_disk_operations q where q.message ->> 'operation_id' = o.operation_id::text)
limit :most;

-- name: prunable
-- Completed snapshots that retention lets go of, of these or (where that is null) of all: old, not among the newest, and
-- nothing is about to be made from them. Those of volumes that no pod has started with (a reservation that went back to
-- the line) take nobody's place among the newest, and neither does one that AWS does not show just now.
select s.snapshot_id
from public.disk_snapshots s join public.disks d on d.disk_id = s.disk_id
where s.status = 'completed' and d.status in ('available', 'attached')
  and s.completed_at < public.fleet_now() - :kept_for::interval
  and (
    s.kind = 'migration' and s.operation_id is null and (
      select count(newer.snapshot_id)
      from public.disk_snapshots newer
      where newer.disk_id = s.disk_id and newer.status = 'completed' and newer.missing_since is null
        and (newer.completed_at, newer.snapshot_id) > (s.completed_at, s.snapshot_id)) > 0
    or (
      select count(newer.snapshot_id)
      from public.disk_snapshots newer
      where newer.disk_id = s.disk_id and newer.status = 'completed' and newer.missing_since is null
        and (newer.completed_at, newer.snapshot_id) > (s.completed_at, s.snapshot_id)
        and not (newer.kind = 'migration' and newer.operation_id is null)) >= :kept::integer)
  and (s.snapshot_id in (d.source_snapshot_id, d.next_snapshot_id, d.release_snapshot_id)) is not true
  and not exists (
    select from public.disk_snapshots made
    where made.copied_from = s.ebs_snapshot_id and made.status in ('pending', 'creating'))
  and (:snapshots::uuid[] is null or s.snapshot_id = any(:snapshots::uuid[]))
order by s.completed_at
limit :most;

-- name: known_snapshots
-- The snapshots that rows say AWS has: by its id, whose row, since when, and whether AWS has said that it does not.
select s.ebs_snapshot_id, s.snapshot_id, s.status_since, s.missing_since is not null
from public.disk_snapshots s
where s.ebs_snapshot_id is not null and s.status in ('pending', 'creating', 'completed', 'deleting');

-- name: known_volumes
-- The same of volumes.
select d.ebs_volume_id, d.disk_id, d.status_since, d.volume_missing_since is not null
from public.disks d
where d.ebs_volume_id is not null and d.status <> 'purged';

-- name: quarantined
-- What is in quarantine, and was still there.
select q.resource_id from public.disk_quarantine q where q.gone_at is null;

-- name: quarantine_of
-- The rows of these resources in quarantine.
select q.xmin::text as row_version, q.*
from public.disk_quarantine q
where q.resource_id = any(:resources::text[]);

-- name: snapshots_of
-- The rows of these snapshots at AWS.
select s.xmin::text as row_version, s.* from public.disk_snapshots s where s.ebs_snapshot_id = any(:resources::text[]);

-- name: disks_of
-- The rows of these volumes at AWS.
select d.xmin::text as row_version, d.* from public.disks d where d.ebs_volume_id = any(:resources::text[]);

-- name: recorded
-- Of these volumes, those that a snapshot was taken of.
select distinct s.ebs_volume_id from public.disk_snapshots s where s.ebs_volume_id = any(:resources::text[]);
