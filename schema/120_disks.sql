-- 120: the queue of disks, the machine of a disk, and what its row refuses. The rule above all: a volume that a pod
-- may have written to is forgotten only when a completed snapshot of it is on record.

select public.create_fleet_queue('disk_operations', array[
  'create_disk', 'snapshot_disk', 'delete_disk', 'undelete_disk', 'clone_disk', 'restore_disk', 'clear_disk_lock']);
select public.guard_machine('public.disks', 'disk', 'disk_id');
create or replace trigger note_status_since before update on public.disks
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- Refuses a second owner: a disk that is held passes to nobody before it was released. A trigger of public.disks.
create or replace function public.guard_disk_owner() returns trigger
language plpgsql
as $$
begin
  raise exception 'disk % of % is attached to reservation %; % can''t have it, too',
    old.disk_name, old.user_id, coalesce(old.reservation_id, 'that is gone'), new.reservation_id
    using errcode = 'PF005', hint = 'It is free again when that reservation has ended and its snapshot is completed.';
end
$$;

create or replace trigger guard_owner before update on public.disks
  for each row when (old.status = 'attached' and new.reservation_id is distinct from old.reservation_id
    and new.reservation_id is not null)
  execute function public.guard_disk_owner();

-- Refuses to forget a volume that a pod may have written to, unless a completed snapshot of it is on record, taken
-- for the release, or AWS has lost the volume; and to end an attachment that still has its volume: the next one
-- would share it. A trigger of public.disks.
create or replace function public.guard_disk_volume() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if old.status = 'attached' and new.status <> 'attached' and new.ebs_volume_id is not null then
    raise exception 'disk % of % still has its volume %', old.disk_name, old.user_id, old.ebs_volume_id
      using errcode = 'PF006', hint = format('Its release makes a snapshot first: pgfleet disk unlock %s', old.disk_name);
  end if;
  if old.ebs_volume_id is not null and new.ebs_volume_id is distinct from old.ebs_volume_id
    and not old.volume_is_new and old.volume_lost_at is null
    and not exists (
      select from public.disk_snapshots s
      where s.snapshot_id = old.release_snapshot_id and s.disk_id = old.disk_id and s.status = 'completed'
        and s.ebs_volume_id = old.ebs_volume_id)
  then
    raise exception 'volume % of disk % of % has to stay: no completed snapshot of it is on record',
      old.ebs_volume_id, old.disk_name, old.user_id
      using errcode = 'PF006', hint = 'It may go when the snapshot of its release is completed.';
  end if;
  return new;
end
$$;

revoke execute on function public.guard_disk_volume() from public;

create or replace trigger guard_volume before update of status, ebs_volume_id on public.disks
  for each row execute function public.guard_disk_volume();

-- What the worker of this kind reads and writes, and who sends to it (163).
create or replace view public.rights_of_disk (who, thing, may) as values
  ('worker', 'pgmq.q_disk_operations', 'work'),
  ('serve', 'function public.insert_placed_operation(jsonb)', 'execute'),
  ('user', 'pgmq.q_disk_operations', 'send'),
  ('api', 'pgmq.q_disk_operations', 'send'),
  ('sender', 'pgmq.q_disk_operations', 'send'),
  ('worker', 'public.disks', 'select, insert, update'),
  ('worker', 'public.disk_snapshots', 'select, insert, update'),
  ('worker', 'public.disk_operations', 'select, insert, update'),
  ('worker', 'public.disk_quarantine', 'select, insert, update'),
  ('worker', 'public.reservations', 'select (reservation_id, status)'),
  ('worker', 'public.forgotten_disk', 'select'),
  ('worker', 'public.forgotten_disk_snapshot', 'select'),
  ('worker', 'public.forgotten_disk_operation', 'select'),
  ('worker', 'function public.limits_of(text[])', 'execute'),
  ('worker', 'pgmq.q_gpu_reservations', 'send');
