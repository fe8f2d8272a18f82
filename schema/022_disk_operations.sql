-- 022: what the disk worker (workers/disk/machine.py) and the reservation worker remember of disks besides the machines
-- (017): the operations that people ask for, how far an attached disk's volume is, and what AWS has that no row knows.
--
-- The rule above all: a volume that a pod may have written to is forgotten only when a completed snapshot of it is on
-- record (guard_disk_volume, in 120). Life of an attached disk:
--
--   attached (who, made from which snapshot) -> zone -> volume made (volume_is_new) -> ready -> the pod has it
--   -> release asked, with a snapshot -> completed -> volume deleted and seen gone -> available
--
-- The reservation worker writes the zone and asks for the release, with the row's ticket for the disk worker, which
-- does all that concerns AWS.

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

comment on column public.disk_operations.user_id is 'The user whose row it is';

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

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.disk_operations', 'finished_at', '90 days', false, 'finished_at is not null')
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

insert into public.periodic (name, queue, message, every) values
  ('disk.sweep', 'disk_operations', '{"action": "sweep"}', '60 seconds'),
  ('disk.reconcile', 'disk_operations', '{"action": "reconcile"}', '300 seconds'),
  ('disk.prune', 'disk_operations', '{"action": "prune"}', '300 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;

-- For pages of disks, the newest first.
create index if not exists disks_made_idx on public.disks (coalesce(created_at, '1970-01-01 00:00:00+00'), disk_id);
