-- 017: the machines of disks and their snapshots: moves, and what a worker needs to remember; the triggers are in
-- 120 and 121. Written by the disk worker, and by the reservation worker when it attaches and releases.
--
--   disk:  creating --> available <--> attached     available --> deleted --> purged     deleted --> available
--   snapshot:  pending --> creating --> completed --> deleting --> deleted

alter table public.disks
  add column if not exists status text,
  add column if not exists status_reason text,
  add column if not exists status_msg_id bigint,
  add column if not exists status_since timestamptz not null default public.fleet_now(),
  -- The number of the disk's one live ticket, as of a reservation's.
  add column if not exists ticket integer not null default 0,
  add column if not exists ebs_availability_zone text;

-- What the flags of 003 said is now the status; they go on telling it, and can no longer disagree with it. Disks that
-- were there before the machine keep what they said. A disk that nobody uses is nobody's.
do $$
begin
  if exists (
    select from pg_attribute
    where attrelid = 'public.disks'::regclass and attname = 'in_use' and attgenerated = '')
  then
    update public.disks set
      status = case when is_deleted then 'deleted' when in_use then 'attached' else 'available' end,
      reservation_id = case when in_use and is_deleted is not true then reservation_id end,
      snapshot_count = coalesce(snapshot_count, 0),
      pending_snapshot_count = coalesce(pending_snapshot_count, 0),
      marked_deleted_at = case when is_deleted then coalesce(marked_deleted_at, last_updated, now()) end
    where status is null;
    alter table public.disks
      alter column status set default 'creating',
      alter column status set not null,
      drop column in_use,
      drop column is_backing_up,
      drop column is_deleted;
    alter table public.disks
      add column in_use boolean generated always as (status = 'attached') stored,
      add column is_backing_up boolean generated always as (coalesce(pending_snapshot_count, 0) > 0) stored,
      add column is_deleted boolean generated always as (status in ('deleted', 'purged')) stored;
  end if;
end
$$;

alter table public.disks
  drop constraint if exists disks_snapshot_count_check,
  drop constraint if exists disks_pending_snapshot_count_check,
  drop constraint if exists disks_size_gb_check,
  drop constraint if exists disks_status_check,
  drop constraint if exists disks_held_check;
alter table public.disks
  add constraint disks_snapshot_count_check check (
    snapshot_count >= 0 is not false or public.refuse_value('snapshot_count', snapshot_count::text, 'at least 0')),
  add constraint disks_pending_snapshot_count_check check (
    pending_snapshot_count >= 0 is not false
      or public.refuse_value('pending_snapshot_count', pending_snapshot_count::text, 'at least 0')),
  add constraint disks_size_gb_check check (
    size_gb > 0 is not false or public.refuse_value('size_gb', size_gb::text, 'above 0')),
  add constraint disks_status_check check (
    (status in ('creating', 'available', 'attached', 'deleted', 'purged', 'failed')) is not false
      or public.refuse_value('a disk''s status', status,
        'one of creating, available, attached, deleted, purged, failed')),
  -- A reservation's row that is deleted leaves an attached disk behind, whose volume is still to be released.
  add constraint disks_held_check check (
    (reservation_id is null or status = 'attached') is not false
      or public.refuse_value('reservation_id', reservation_id, 'null unless the disk is attached'));

-- One row per snapshot that was asked for; ebs_snapshot_id is null until AWS has answered. kind is why it was made.
create table if not exists public.disk_snapshots (
  snapshot_id uuid primary key default gen_random_uuid(),
  disk_id uuid not null references public.disks (disk_id),
  kind text not null default 'manual' check (
    (kind in ('manual', 'shutdown', 'cancellation', 'migration')) is not false
      or public.refuse_value('a snapshot''s kind', kind, 'one of manual, shutdown, cancellation, migration')),
  status text not null default 'pending' check (
    (status in ('pending', 'creating', 'completed', 'deleting', 'deleted', 'failed')) is not false
      or public.refuse_value('a snapshot''s status', status,
        'one of pending, creating, completed, deleting, deleted, failed')),
  operation_id uuid,
  reservation_id varchar(255) references public.reservations (reservation_id) on delete set null,
  ebs_volume_id text,
  ebs_snapshot_id text unique,
  progress_percent integer check (
    (progress_percent between 0 and 100) is not false
      or public.refuse_value('progress_percent', progress_percent::text, 'between 0 and 100')),
  size_gb integer,
  content_s3 text,
  failure_reason text,
  created_at timestamptz not null default public.fleet_now(),
  completed_at timestamptz,
  deleted_at timestamptz,
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now(),
  ticket integer not null default 0
);

create index if not exists disk_snapshots_disk_idx on public.disk_snapshots (disk_id, status, completed_at);
create index if not exists disk_snapshots_operation_idx
  on public.disk_snapshots (operation_id) where operation_id is not null;
create index if not exists disk_snapshots_reservation_idx
  on public.disk_snapshots (reservation_id) where reservation_id is not null;
create index if not exists disk_snapshots_live_idx
  on public.disk_snapshots (snapshot_id) where status in ('pending', 'creating', 'deleting');

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('disk', '(new)', 'creating', 'create_disk, clone_disk, or the first reservation that asks for it'),
  ('disk', 'creating', 'available', 'everything that it starts with is there'),
  ('disk', 'creating', 'failed', 'it could not be made; the reason says why'),
  ('disk', 'available', 'attached', 'a reservation takes it'),
  ('disk', 'attached', 'available', 'its last snapshot is completed and its volume is gone'),
  ('disk', 'available', 'deleted', 'delete_disk: for 30 days it can be brought back'),
  ('disk', 'deleted', 'available', 'undelete_disk'),
  ('disk', 'deleted', 'purged', 'the 30 days are over and its snapshots are gone'),
  ('disk_snapshot', '(new)', 'pending', 'snapshot_disk, or a reservation that ends'),
  ('disk_snapshot', 'pending', 'creating', 'AWS has begun'),
  ('disk_snapshot', 'pending', 'failed', 'it could not be begun; the reason says why'),
  ('disk_snapshot', 'creating', 'completed', 'AWS says that it is whole'),
  ('disk_snapshot', 'creating', 'failed', 'AWS gave it up; the reason says why'),
  ('disk_snapshot', 'completed', 'deleting', 'retention, or a disk that is purged'),
  ('disk_snapshot', 'deleting', 'deleted', 'AWS no longer has it')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

-- Disks that were there before their machine get the beginning of a history, once; it says so.
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)
select 'disk', d.disk_id::text, '(new)', d.status, 'was there before the machine', 'migration 017'
from public.disks d
where not exists (
  select from public.status_history h where h.machine = 'disk' and h.row_id = d.disk_id::text);
