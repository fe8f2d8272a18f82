-- 008: how a reservation ended, what it was warned of and what ran out of memory, and since when a disk is
-- marked as deleted. Written by the reservation and disk workers; read by their sweeps and by people.

alter table public.reservations
  add column if not exists oom_count integer not null default 0 check (oom_count >= 0),
  add column if not exists last_oom_at timestamptz,
  add column if not exists oom_container varchar(255),
  -- Which warnings went out, each once: minutes before the end -> when.
  add column if not exists warnings_sent jsonb not null default '{}',
  add column if not exists last_warning_time timestamptz,
  add column if not exists failed_at timestamptz,
  add column if not exists cancelled_at timestamptz,
  -- When everything outside was seen gone; an ended row without it is still being torn down.
  add column if not exists reservation_ended timestamptz;

-- A deleted disk can be brought back for 30 days from here.
alter table public.disks
  add column if not exists marked_deleted_at timestamptz;

create index if not exists reservations_expiry_idx
  on public.reservations (expires_at) where status = 'active';
create index if not exists disks_marked_deleted_idx
  on public.disks (marked_deleted_at) where marked_deleted_at is not null;
