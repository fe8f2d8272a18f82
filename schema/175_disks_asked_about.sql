-- 175: the disks that some messages are about.

-- By id, as a snapshot's, as the one whose volume a snapshot is of, as an operation's, by user and name, and as an
-- operation names them. One index scan for each; together, in one condition, they would read all disks. By arrays, and
-- with `is true`, which keeps pairs out of a join: so it is also where statistics are of an empty table.
create or replace function public.disks_asked_about(
  disk_ids uuid[], snapshot_ids uuid[], operation_ids uuid[], user_ids text[], disk_names text[])
returns setof uuid
language sql stable
as $$
  select d.disk_id from public.disks d where d.disk_id = any(disk_ids)
  union all
  select d.disk_id from public.disks d
  where d.disk_id = any (array(
    select s.disk_id from public.disk_snapshots s where s.snapshot_id = any(snapshot_ids)))
  union all
  select d.disk_id from public.disks d
  where d.ebs_volume_id = any (array(
    select s.ebs_volume_id from public.disk_snapshots s where s.snapshot_id = any(snapshot_ids)))
  union all
  select d.disk_id from public.disks d
  where d.disk_id = any (array(
    select o.disk_id from public.disk_operations o where o.operation_id = any(operation_ids)))
  union all
  select d.disk_id from public.disks d
  where d.user_id = any(user_ids)
    and ((d.user_id, d.disk_name) in (select unnest(user_ids), unnest(disk_names))) is true
  union all
  select d.disk_id from public.disks d
  where d.user_id = any (array(
      select o.user_id from public.disk_operations o where o.operation_id = any(operation_ids)))
    and ((d.user_id, d.disk_name) in (
      select o.user_id, unnest(array_remove(array[o.disk_name, o.body ->> 'source_disk'], null))
      from public.disk_operations o where o.operation_id = any(operation_ids))) is true
$$;
