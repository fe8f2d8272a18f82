-- 121: the machine of snapshots, and the counters of their disk.

select public.guard_machine('public.disk_snapshots', 'disk_snapshot', 'snapshot_id');
create or replace trigger note_status_since before update on public.disk_snapshots
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- Keeps disks.snapshot_count (completed ones), pending_snapshot_count and last_snapshot_at true, disk by disk in key
-- order, whoever writes. Refuses to give up the last completed snapshot of a disk that is not deleted, unless AWS
-- has lost it; and one that a disk's volume is made from, now or next: who chose it and who prunes may come at once.
-- A trigger of public.disk_snapshots.
create or replace function public.count_snapshots() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  changes text;
  change record;
  disk public.disks;
begin
  changes := case tg_op
    when 'INSERT' then 'select disk_id, status, 1 as n, completed_at, lost_at from new_rows'
    when 'DELETE' then 'select disk_id, status, -1 as n, null::timestamptz as completed_at, lost_at from old_rows'
    else 'select disk_id, status, 1 as n, completed_at, lost_at from new_rows
          union all select o.disk_id, o.status, -1, null, n.lost_at
          from old_rows o left join new_rows n using (snapshot_id)'
  end;
  for change in execute
    'select disk_id,
       coalesce(sum(n) filter (where status = ''completed''), 0) as completed,
       coalesce(sum(n) filter (where status in (''pending'', ''creating'')), 0) as pending,
       coalesce(bool_or(lost_at is null) filter (where status = ''completed'' and n < 0), false) as given_up,
       max(completed_at) filter (where status = ''completed'') as completed_at
     from (' || changes || ') c group by disk_id order by disk_id'
  loop
    continue when change.completed = 0 and change.pending = 0;
    update public.disks d set
      snapshot_count = coalesce(d.snapshot_count, 0) + change.completed,
      pending_snapshot_count = coalesce(d.pending_snapshot_count, 0) + change.pending,
      last_snapshot_at = greatest(d.last_snapshot_at, change.completed_at)
    where d.disk_id = change.disk_id
    returning * into disk;
    if change.completed < 0 and change.given_up and disk.snapshot_count = 0
      and disk.status not in ('deleted', 'purged')
    then
      raise exception 'the last completed snapshot of disk % of % has to stay', disk.disk_name, disk.user_id
        using errcode = 'PF006', hint = 'It may go with its disk, 30 days after delete_disk.';
    end if;
    if change.completed < 0 and change.given_up and disk.status in ('available', 'attached') and exists (
      select from public.disk_snapshots s
      where s.snapshot_id in (disk.next_snapshot_id, disk.source_snapshot_id, disk.release_snapshot_id)
        and s.status in ('deleting', 'deleted') and s.lost_at is null)
    then
      raise exception 'a snapshot that disk % of % is made from has to stay', disk.disk_name, disk.user_id
        using errcode = 'PF006', hint = 'It may go when the disk has a newer one.';
    end if;
  end loop;
  return null;
end
$$;

revoke execute on function public.count_snapshots() from public;

create or replace trigger count_snapshots_new after insert on public.disk_snapshots
  referencing new table as new_rows for each statement execute function public.count_snapshots();
create or replace trigger count_snapshots_changed after update on public.disk_snapshots
  referencing old table as old_rows new table as new_rows
  for each statement execute function public.count_snapshots();
create or replace trigger count_snapshots_gone after delete on public.disk_snapshots
  referencing old table as old_rows for each statement execute function public.count_snapshots();
