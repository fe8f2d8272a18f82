-- 003: persistent disks. The disk worker inserts a row when it reads `create_disk` and keeps it in step with
-- AWS; the reservation worker attaches and releases. A deleted disk's row stays until it is purged.

-- One row per named disk of a person. size_gb is what was asked for, disk_size what is used ("1.2G").
-- reservation_id is who holds the disk; a reservation's row that goes lets the disk go, and never takes it along.
create table if not exists public.disks (
  disk_id uuid primary key default gen_random_uuid(),
  disk_name text not null,
  user_id text not null,
  size_gb integer check (size_gb > 0),
  disk_size text,
  created_at timestamptz default now(),
  last_used timestamptz,
  in_use boolean default false,
  reservation_id varchar(255) references public.reservations (reservation_id) on delete set null,
  is_backing_up boolean default false,
  is_deleted boolean default false,
  delete_date date,
  snapshot_count integer default 0 check (snapshot_count >= 0),
  pending_snapshot_count integer default 0 check (pending_snapshot_count >= 0),
  ebs_volume_id text,
  last_snapshot_at timestamptz,
  operation_id uuid,
  operation_status text,
  operation_error text,
  latest_snapshot_content_s3 text,
  last_updated timestamptz default now(),
  -- Its index is also the one by user.
  unique (user_id, disk_name)
);

create index if not exists disks_reservation_idx
  on public.disks (reservation_id) where reservation_id is not null;
create index if not exists disks_operation_idx
  on public.disks (operation_id) where operation_id is not null;

comment on column public.disks.user_id is 'The user whose row it is';
