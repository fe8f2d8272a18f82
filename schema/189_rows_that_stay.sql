-- 189: rows that nobody may delete: whoever deletes what says where something outside is (a pod, a volume, a snapshot, an
-- account) leaves that behind, where nobody looks for it any more. Refused by hand as by a program, and whether a row is
-- deleted, truncated, or gone with another. Rows that hold nothing may go.

-- Why a reservation's row has to stay, and what to do first; null for one that may go. Called by keep_row, as those below.
create or replace function public.reservation_stays(kept public.reservations) returns text[]
language sql stable
as $$
  select array[
    format('reservation %s (%s) has to stay: it holds %s', kept.reservation_id, kept.status,
      concat_ws(', ', case when kept.gpus_held > 0 then kept.gpus_held || ' x ' || kept.gpu_type end,
        case when h.has_pod then 'a pod, or has not seen it gone' end, 'disk ' || h.disk)),
    case when kept.status in ('expired', 'cancelled', 'failed')
      then format('It is being torn down: pgfleet watch %s. The row may go when all is gone.', kept.reservation_id)
      else format('First: pgfleet cancel %s --user %s. The row may go when all is gone.', kept.reservation_id,
        kept.user_id) end]
  from (
    select
      kept.status in ('preparing', 'active') or kept.held_by is not null
        or (kept.status in ('expired', 'cancelled', 'failed') and kept.reservation_ended is null) as has_pod,
      (select min(d.disk_name) from public.disks d
       where d.reservation_id = kept.reservation_id and d.status = 'attached') as disk) h
  where kept.gpus_held > 0 or h.has_pod or h.disk is not null
$$;

-- The same of a disk's row.
create or replace function public.disk_stays(kept public.disks) returns text[]
language sql stable
as $$
  select array[
    format('disk %s of %s (%s) has to stay: it has %s', kept.disk_name, kept.user_id, kept.status,
      concat_ws(' and ', coalesce('volume ' || kept.ebs_volume_id, case when kept.status = 'attached'
        then 'a volume that is being made' end), nullif(s.n, 0) || ' snapshots at AWS')),
    case when kept.status = 'attached'
      then format('First the reservation that has it: pgfleet cancel %s', coalesce(kept.reservation_id, 'ID'))
      else format('pgfleet disk delete %s --user %s: the row may go when it is purged.', kept.disk_name, kept.user_id)
    end]
  from (
    select count(*) as n from public.disk_snapshots s
    where s.disk_id = kept.disk_id and s.lost_at is null
      and s.status in ('pending', 'creating', 'completed', 'deleting')) s
  where kept.status = 'attached' or kept.ebs_volume_id is not null or s.n > 0
$$;

-- The same of a snapshot's.
create or replace function public.snapshot_stays(kept public.disk_snapshots) returns text[]
language sql stable
as $$
  select array[
    format('snapshot %s (%s) has to stay: AWS has it', coalesce(kept.ebs_snapshot_id, kept.snapshot_id::text), kept.status),
    'Retention deletes it at AWS, or its disk takes it along: pgfleet disk delete. The row may go when it is deleted.']
  where kept.lost_at is null and kept.status in ('pending', 'creating', 'completed', 'deleting')
$$;

-- The same of a GPU type's.
create or replace function public.gpu_type_stays(kept public.gpu_types) returns text[]
language sql stable
as $$
  select array[
    format('GPU type %s has to stay: %s reservations of it are not over', kept.gpu_type, r.n),
    format('pgfleet types disable %s takes no new ones. The row may go when the last one is over.', kept.gpu_type)]
  from (
    select count(*) as n from public.reservations r
    where r.gpu_type = kept.gpu_type and r.reservation_ended is null) r
  where r.n > 0 or kept.held_gpus > 0
$$;

-- The same of an assignment's: always.
create or replace function hopsworks.assignment_stays(kept hopsworks.user_hopsworks_assignments) returns text[]
language sql immutable
as $$
  select array[
    format('the assignment of user %s has to stay', kept.user_id), 'Send a release; its row is the audit trail.']
$$;

-- The same of a Hopsworks cluster's. One that is out of use for good may go with the accounts that nobody can close there
-- any more.
create or replace function hopsworks.cluster_stays(kept hopsworks.hopsworks_clusters) returns text[]
language sql stable
as $$
  select array[
    format('Hopsworks cluster %s has to stay: %s users are on it, and %s accounts are still to be closed there', kept.name,
      a.n, k.n),
    format('First: pgfleet hopsworks drain %s --move; the row may go when nobody is left.', kept.name)]
  from (
    select count(*) as n from hopsworks.user_hopsworks_assignments a where a.hopsworks_cluster_id = kept.id) a,
    (select count(*) as n from hopsworks.accounts_to_close k
     where k.hopsworks_cluster_id = kept.id and k.closed_at is null and kept.status <> 'inactive') k
  where a.n > 0 or k.n > 0
$$;

-- The same of an account's that is to be closed.
create or replace function hopsworks.account_stays(kept hopsworks.accounts_to_close) returns text[]
language sql stable
as $$
  select array[
    format('the account of user %s on cluster %s is still to be closed', kept.user_id, c.name),
    'A running assignment worker closes it: pgfleet worker assignment. The row may go then.']
  from hopsworks.hopsworks_clusters c
  where c.id = kept.hopsworks_cluster_id and c.status <> 'inactive' and kept.closed_at is null
$$;

-- Refuses what would remove a row that has to stay (PF006), as the function that it is given says. With its owner's rights:
-- who may delete need not be allowed to see all that a row holds. A trigger of the tables below.
create or replace function public.keep_row() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  why text[];
begin
  if tg_op = 'TRUNCATE' then
    execute format('select w.why from %I.%I t, %s(t) w(why) where w.why is not null limit 1',
      tg_table_schema, tg_table_name, tg_argv[0]) into why;
  else
    execute format('select %s($1)', tg_argv[0]) into why using old;
  end if;
  if why is not null then
    raise exception using message = why[1], errcode = 'PF006', hint = why[2];
  end if;
  return case when tg_op = 'UPDATE' then new else old end;
end
$$;

revoke execute on function public.keep_row() from public;

create or replace trigger keep_row before delete on public.reservations
  for each row execute function public.keep_row('public.reservation_stays');
create or replace trigger keep_rows before truncate on public.reservations
  for each statement execute function public.keep_row('public.reservation_stays');
create or replace trigger keep_row before delete on public.disks
  for each row execute function public.keep_row('public.disk_stays');
create or replace trigger keep_rows before truncate on public.disks
  for each statement execute function public.keep_row('public.disk_stays');
create or replace trigger keep_row before delete on public.disk_snapshots
  for each row execute function public.keep_row('public.snapshot_stays');
create or replace trigger keep_rows before truncate on public.disk_snapshots
  for each statement execute function public.keep_row('public.snapshot_stays');
create or replace trigger keep_row before delete on public.gpu_types
  for each row execute function public.keep_row('public.gpu_type_stays');
create or replace trigger keep_rows before truncate on public.gpu_types
  for each statement execute function public.keep_row('public.gpu_type_stays');
-- Reservations name their type without a foreign key.
create or replace trigger keep_key before update of gpu_type on public.gpu_types
  for each row when (old.gpu_type <> new.gpu_type) execute function public.keep_row('public.gpu_type_stays');
create or replace trigger keep_row before delete on hopsworks.user_hopsworks_assignments
  for each row execute function public.keep_row('hopsworks.assignment_stays');
create or replace trigger keep_rows before truncate on hopsworks.user_hopsworks_assignments
  for each statement execute function public.keep_row('hopsworks.assignment_stays');
create or replace trigger keep_row before delete on hopsworks.hopsworks_clusters
  for each row execute function public.keep_row('hopsworks.cluster_stays');
create or replace trigger keep_rows before truncate on hopsworks.hopsworks_clusters
  for each statement execute function public.keep_row('hopsworks.cluster_stays');
create or replace trigger keep_row before delete on hopsworks.accounts_to_close
  for each row execute function public.keep_row('hopsworks.account_stays');
create or replace trigger keep_rows before truncate on hopsworks.accounts_to_close
  for each statement execute function public.keep_row('hopsworks.account_stays');
