-- 026: what the disk worker (workers/disk/machine.py) and the reservation worker remember of disks besides the machines (017):
-- the operations that people ask for, whose turn an attached disk's volume has, and what AWS has that no row knows.
--
-- The rule above all: a volume that a pod may have written to is forgotten only when a completed snapshot of it is on
-- record (guard_disk_volume). Life of an attached disk:
--
--   attached (who, made from which snapshot) -> zone -> volume made (volume_is_new) -> ready -> the pod has it
--   -> release asked, with a snapshot -> completed -> volume deleted and seen gone -> available
--
-- The reservation worker writes the zone and asks for the release, with the row's ticket for the disk worker, which does
-- all that concerns AWS.

-- The columns are new and empty, so their foreign keys have nothing to look through. They are looked at when all is
-- written: one commit makes a snapshot and names it.
alter table public.disks
  -- Which attachment the present or last one is: part of the client token of its volume.
  add column if not exists attachment integer not null default 0,
  -- What the volume of this attachment is made from; null for an empty one.
  -- squawk-ignore adding-foreign-key-constraint
  add column if not exists source_snapshot_id uuid references public.disk_snapshots (snapshot_id)
    deferrable initially deferred,
  -- What the next one is made from, where somebody has restored an older snapshot; null for the newest completed one.
  -- squawk-ignore adding-foreign-key-constraint
  add column if not exists next_snapshot_id uuid references public.disk_snapshots (snapshot_id)
    deferrable initially deferred,
  -- Made by us, and no pod has had it yet. What is not known to be new is taken for used.
  add column if not exists volume_is_new boolean not null default false,
  -- AWS has said that it has no such volume: when first, and when for good.
  add column if not exists volume_missing_since timestamptz,
  add column if not exists volume_lost_at timestamptz,
  add column if not exists release_asked_at timestamptz,
  -- The snapshot that the release waits for.
  -- squawk-ignore adding-foreign-key-constraint
  add column if not exists release_snapshot_id uuid references public.disk_snapshots (snapshot_id)
    deferrable initially deferred,
  -- What was in the home when its pod was about to go, until its snapshot takes it over; and when that was.
  add column if not exists contents text,
  add column if not exists contents_at timestamptz,
  -- Why it can't be attached; its reservation fails with it.
  add column if not exists attach_error text,
  -- What of its data AWS has lost: until somebody chooses a snapshot (restore_disk), nobody gets it as if nothing were.
  add column if not exists data_lost text,
  -- What it is doing or waiting for, for people.
  add column if not exists detail text;

alter table public.disk_snapshots
  -- Where it is a copy: the snapshot at AWS that it is copied from. Otherwise it is taken of ebs_volume_id.
  add column if not exists copied_from text,
  -- The listing that is still to be written to S3 (content_s3 says where it is then).
  add column if not exists contents text,
  add column if not exists missing_since timestamptz,
  -- AWS has lost it: then it may go, even if it is a disk's last one.
  add column if not exists lost_at timestamptz;

-- Disks that were there before this file, and say that they have snapshots of which there are no rows: from now on the
-- counters are those of the rows, and what the disk had is not forgotten.
update public.disks d set
  snapshot_count = s.completed,
  pending_snapshot_count = s.unfinished,
  data_lost = case
    when d.data_lost is null and coalesce(d.snapshot_count, 0) > s.completed and d.status in ('available', 'deleted')
    then format('it had %s snapshots of which there are %s rows: insert the others into disk_snapshots, then choose one: '
      'pgfleet disk restore %s SNAPSHOT, or go on without: pgfleet disk unlock %s',
      d.snapshot_count, s.completed, d.disk_name, d.disk_name)
    else d.data_lost
  end
from (
  select k.disk_id,
    count(*) filter (where n.status = 'completed') as completed,
    count(*) filter (where n.status in ('pending', 'creating')) as unfinished
  from public.disks k left join public.disk_snapshots n using (disk_id)
  group by k.disk_id
) s
where s.disk_id = d.disk_id
  and (d.snapshot_count, d.pending_snapshot_count) is distinct from (s.completed::integer, s.unfinished::integer);

-- What people ask for, by the id that they have chosen and follow it by. Written by the disk worker; `body` is the
-- message.
create table if not exists public.disk_operations (
  operation_id uuid primary key,
  action text not null,
  user_id text not null,
  disk_name text not null,
  body jsonb not null default '{}',
  -- squawk-ignore adding-foreign-key-constraint
  disk_id uuid references public.disks (disk_id) on delete cascade
    deferrable initially deferred,
  -- squawk-ignore adding-foreign-key-constraint
  snapshot_id uuid references public.disk_snapshots (snapshot_id) on delete set null
    deferrable initially deferred,
  status text not null default 'pending' check (
    (status in ('pending', 'in_progress', 'completed', 'failed')) is not false
      or public.refuse_value('an operation''s status', status, 'one of pending, in_progress, completed, failed')),
  error text,
  detail text,
  created_at timestamptz not null default public.fleet_now(),
  finished_at timestamptz,
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now()
);

create index if not exists disk_operations_user_idx on public.disk_operations (user_id, created_at);
create index if not exists disk_operations_disk_idx on public.disk_operations (disk_id) where disk_id is not null;
create index if not exists disk_operations_live_idx
  on public.disk_operations (operation_id) where status in ('pending', 'in_progress');
create index if not exists disk_operations_finished_idx
  on public.disk_operations (finished_at) where finished_at is not null;

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('disk_operation', '(new)', 'pending', 'its message is valid'),
  ('disk_operation', 'pending', 'in_progress', 'its disk or snapshot is on its way'),
  ('disk_operation', 'pending', 'completed', 'done at once'),
  ('disk_operation', 'pending', 'failed', 'it can''t be done; the error says why'),
  ('disk_operation', 'in_progress', 'completed', 'its disk or snapshot is as it was asked for'),
  ('disk_operation', 'in_progress', 'failed', 'it could not be done; the error says why'),
  ('disk_operation', 'failed', 'pending', 'an operator replays its dead letter')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

select public.guard_machine('public.disk_operations', 'disk_operation', 'operation_id');

drop trigger if exists note_status_since on public.disk_operations;
create trigger note_status_since before update on public.disk_operations
  for each row when (old.status is distinct from new.status) execute function public.note_status_since();

-- Keeps what 003's columns say of a disk's last operation true, whoever writes.
create or replace function public.tell_disk_of_operation() returns trigger
language plpgsql
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

drop trigger if exists tell_disk on public.disk_operations;
create trigger tell_disk after insert or update on public.disk_operations
  for each row when (new.disk_id is not null) execute function public.tell_disk_of_operation();

-- What AWS has under our tags and no row accounts for, or twice. Nothing here is deleted by us: a person looks.
create table if not exists public.disk_quarantine (
  resource_id text primary key,
  disk_id uuid,
  snapshot_id uuid,
  reason text not null,
  found_at timestamptz not null default public.fleet_now(),
  -- When AWS no longer had it.
  gone_at timestamptz
);

create index if not exists disks_volume_idx on public.disks (ebs_volume_id) where ebs_volume_id is not null;
create index if not exists disk_snapshots_volume_idx
  on public.disk_snapshots (ebs_volume_id) where ebs_volume_id is not null;
-- Listings that are still to be written.
create index if not exists disk_snapshots_listing_idx
  on public.disk_snapshots (snapshot_id) where contents is not null;
-- Disks that something is still to be done about.
create index if not exists disks_unsettled_idx on public.disks (disk_id) where status in ('creating', 'deleted')
  or status = 'attached' and (ebs_volume_id is null or volume_is_new or release_asked_at is not null);
-- Reservations that wait, and with which disk.
create index if not exists reservations_wait_with_disk_idx on public.reservations (user_id, disk_name)
  where disk_name is not null and status in ('pending', 'queued');

-- Refuses to forget a volume that a pod may have written to, unless a completed snapshot of it is on record, taken for
-- the release, or AWS has lost the volume; and to end an attachment that still has its volume: the next one would share it.
create or replace function public.guard_disk_volume() returns trigger
language plpgsql
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

drop trigger if exists guard_volume on public.disks;
create trigger guard_volume before update of status, ebs_volume_id on public.disks
  for each row execute function public.guard_disk_volume();

-- As in 017; but a snapshot that AWS has lost may go, even the last one: to hold on to its row would not bring it back.
-- And one that a disk's volume is made from, now or next, stays: whoever chose it and whoever prunes may come at once.
create or replace function public.count_snapshots() returns trigger
language plpgsql
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

-- Lets the lines move in which somebody waits with a disk: when it is free, and when its snapshot has come on.
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

create or replace function public.tell_who_waits() returns trigger
language plpgsql
as $$
begin
  perform public.tell_who_waits_for_disk(new.disk_id);
  return null;
end
$$;

drop trigger if exists tell_who_waits on public.disks;
create trigger tell_who_waits after update on public.disks
  for each row when (old.status is distinct from new.status
    or old.pending_snapshot_count is distinct from new.pending_snapshot_count)
  execute function public.tell_who_waits();
drop trigger if exists tell_who_waits on public.disk_snapshots;
create trigger tell_who_waits after update on public.disk_snapshots
  for each row when (old.progress_percent is distinct from new.progress_percent)
  execute function public.tell_who_waits();

-- As in 023, and whose operation it is.
create or replace view public.guarded_tables as
select n.nspname as schema_name, c.relname as table_name, u.user_column
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join (values
  ('public', 'reservations', 'user_id'),
  ('public', 'disks', 'user_id'),
  ('public', 'disk_operations', 'user_id'),
  ('hopsworks', 'users', 'id'),
  ('hopsworks', 'user_hopsworks_assignments', 'user_id'),
  ('hopsworks', 'usage_daily', 'user_id'),
  ('hopsworks', 'user_credits', 'user_id'),
  ('hopsworks', 'billing_history', 'user_id')
) u (schema_name, table_name, user_column) on u.schema_name = n.nspname and u.table_name = c.relname
where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and c.relkind in ('r', 'p')
  and not c.relispartition
  -- Not another program's tables beside ours.
  and exists (select from pg_class m where m.oid = 'public.schema_migrations'::regclass and m.relowner = c.relowner);

-- As in 023, and what people have in their homes.
create or replace function public.is_secret(of_table text, column_name text) returns boolean
language sql immutable
as $$
  select column_name = any (
      '{api_key,kubeconfig,key_hash,api_key_hash,hashed_password,jupyter_token,env_vars,stripe_customer_id,
        yaml_config,contents}')
    or of_table = 'dead_letters' and column_name in ('message', 'headers')
$$;

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.disk_operations', 'finished_at', '90 days', false, 'finished_at is not null')
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

insert into public.periodic (name, queue, message, every) values
  ('disk.sweep', 'disk_operations', '{"action": "sweep"}', '60 seconds'),
  ('disk.reconcile', 'disk_operations', '{"action": "reconcile"}', '300 seconds'),
  ('disk.prune', 'disk_operations', '{"action": "prune"}', '300 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
