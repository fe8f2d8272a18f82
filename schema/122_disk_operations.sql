-- 122: the machine of operations, and what a change of a disk leads to: its row shows its last operation, and the lines
-- of the reservations that wait for it move.

select public.guard_machine('public.disk_operations', 'disk_operation', 'operation_id');
create or replace trigger note_status_since before update on public.disk_operations
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- Keeps what 003's columns say of a disk's last operation true, whoever writes. A trigger of public.disk_operations.
create or replace function public.tell_disk_of_operation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update public.disks d set
    operation_id = new.operation_id, operation_status = new.status, operation_error = new.error
  where d.disk_id = new.disk_id
    and (d.operation_id, d.operation_status, d.operation_error)
      is distinct from (new.operation_id, new.status, new.error)
    -- An older one that ends later is not the disk's last.
    and not exists (
      select from public.disk_operations o
      where o.operation_id = d.operation_id and o.operation_id <> new.operation_id
        and o.created_at > new.created_at);
  return null;
end
$$;

revoke execute on function public.tell_disk_of_operation() from public;

create or replace trigger tell_disk after insert or update on public.disk_operations
  for each row when (new.disk_id is not null) execute function public.tell_disk_of_operation();

-- Lets the lines move in which somebody waits with a disk: when it is free, and when its snapshot has come on.
-- Called by tell_who_waits.
create or replace function public.tell_who_waits_for_disk(of_disk uuid) returns void
language sql
as $$
  select pgmq.send('gpu_reservations', jsonb_build_object('action', 'admit', 'gpu_type', w.gpu_type))
  from (
    select distinct r.gpu_type
    from public.disks d
    join public.reservations r on r.user_id = d.user_id and r.disk_name = d.disk_name
    where d.disk_id = of_disk and r.status in ('pending', 'queued') and r.gpu_type is not null
  ) w
$$;

-- Calls tell_who_waits_for_disk. A trigger of public.disks and public.disk_snapshots.
create or replace function public.tell_who_waits() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.tell_who_waits_for_disk(new.disk_id);
  return null;
end
$$;

revoke execute on function public.tell_who_waits() from public;

create or replace trigger tell_who_waits after update on public.disks
  for each row when (old.status is distinct from new.status
    or old.pending_snapshot_count is distinct from new.pending_snapshot_count)
  execute function public.tell_who_waits();
create or replace trigger tell_who_waits after update on public.disk_snapshots
  for each row when (old.progress_percent is distinct from new.progress_percent)
  execute function public.tell_who_waits();

-- failed -> pending: lets the failed operation of a letter go on (159). What was done; null where there is none to bring back.
-- A snapshot that failed never comes back (PF006). Called by answer_letter.
create or replace function public.revive_disk_operations(letter public.dead_letters) returns text
language plpgsql
as $$
declare
  its_disk record;
  operation uuid;
begin
  if letter.message ->> 'action' = 'advance_snapshot' then
    select d.disk_name, d.user_id, s.snapshot_id into its_disk
    from public.disk_snapshots s join public.disks d using (disk_id)
    where s.snapshot_id::text = letter.message ->> 'snapshot_id' and s.status = 'failed';
    if found then
      raise exception 'Snapshot % failed, and that is its end. Ask for a new snapshot: pgfleet disk snapshot % --user %',
        its_disk.snapshot_id, public.typed(its_disk.disk_name, 'NAME'), public.typed(its_disk.user_id, 'USER')
        using errcode = 'PF006';
    end if;
  elsif letter.message ->> 'action' = 'proceed' then
    -- Compared as text: a dead letter may hold anything for an id.
    select o.operation_id into operation from public.disk_operations o
    where o.operation_id::text = letter.message ->> 'operation_id' and o.status = 'failed' for update;
    if found then
      update public.disk_operations o set status = 'pending', status_reason = public.replay_reason(letter), error = null,
        finished_at = null, status_msg_id = null
      where o.operation_id = operation;
      perform pgmq.send('disk_operations', jsonb_build_object('action', 'proceed', 'operation_id', operation));
      return format('operation %s is pending again', operation);
    end if;
  end if;
  return null;
end
$$;
