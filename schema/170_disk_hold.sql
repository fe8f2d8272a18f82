-- 170: the one rule that says whether a disk keeps a reservation waiting, for the line, the steps, the reads and the
-- dry run.

-- Why this disk keeps that reservation waiting: DISK_IN_USE, SNAPSHOT_PENDING, or null where it does not. A reservation
-- that does not exist yet is null. A disk that is deleted, purged or failed keeps nobody: with it nothing can ever start,
-- and whoever asks for it is refused. Nor does it keep the reservation that has it, until its release is asked for. A
-- snapshot counts only where the disk is free for others once it is completed.
-- It takes columns, so that whoever may not read all of them may ask.
create or replace function public.hold_by_disk(
  status text, release_asked_at timestamptz, reservation_id text, pending_snapshots integer, wanted_by text)
returns text
language sql stable parallel safe
as $$
  select case
    when status = 'creating' then 'SNAPSHOT_PENDING'
    when status = 'attached' and release_asked_at is null and reservation_id = wanted_by then null
    when status = 'attached' and release_asked_at is null then 'DISK_IN_USE'
    when status in ('available', 'attached') and pending_snapshots > 0 then 'SNAPSHOT_PENDING'
    when status = 'attached' then 'DISK_IN_USE'
  end
$$;

-- The same, for whoever has the row.
create or replace function public.disk_hold(disk public.disks, wanted_by text) returns text
language sql stable parallel safe
as $$
  select public.hold_by_disk(
    disk.status, disk.release_asked_at, disk.reservation_id, disk.pending_snapshot_count, wanted_by)
$$;
