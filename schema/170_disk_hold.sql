-- 170: the one rule that says whether a disk keeps a reservation waiting, for the line, the steps, the reads and the
-- dry run.

-- Why this disk keeps that reservation waiting: DISK_IN_USE, SNAPSHOT_PENDING, or null where it does not. A reservation
-- that does not exist yet is null. A disk that is deleted, purged or failed keeps nobody: with it nothing can ever start,
-- and whoever asks for it is refused. Nor does it keep the reservation that has it, until its release is asked for. A
-- snapshot counts only where the disk is free for others once it is completed.
create or replace function public.disk_hold(disk public.disks, wanted_by text) returns text
language sql stable parallel safe
as $$
  select case
    when disk.status = 'creating' then 'SNAPSHOT_PENDING'
    when disk.status = 'attached' and disk.release_asked_at is null and disk.reservation_id = wanted_by then null
    when disk.status = 'attached' and disk.release_asked_at is null then 'DISK_IN_USE'
    when disk.status in ('available', 'attached') and disk.pending_snapshot_count > 0 then 'SNAPSHOT_PENDING'
    when disk.status = 'attached' then 'DISK_IN_USE'
  end
$$;
